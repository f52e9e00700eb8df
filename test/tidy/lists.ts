/** What the rules allow by name. Every list is kept short; an entry that nothing needs any more is itself a violation. */
import type { GlobalException } from './rules/globals.ts'
import type { PackageList } from './rules/imports.ts'
import type { Ratchet } from './rules/sizes.ts'

/** Where each package may be imported. */
export const packages: PackageList = {
  '@aws-sdk/client-s3': ['src/models/uploads/'],
  '@fastify/busboy': ['src/models/uploads/'],
  '@hono/node-server': ['src/api/', 'src/server'],
  '@hono/zod-openapi': ['src/api/'],
  commander: ['src/cli/', 'src/main.ts'],
  hono: ['src/api/'],
  pg: ['src/store/'],
  pino: ['src/runtime/'],
  'prom-client': ['src/api/', 'src/gateway/', 'src/engines/llamacpp/', 'src/runtime/'],
  'swagger-ui-dist': ['src/api/'],
  undici: ['src/compute/', 'src/deployments/probe.ts', 'src/models/hub/', 'src/runtime/', 'src/cli/'],
  yaml: ['src/runtime/'],
  zod: ['src/wire/', 'src/api/', 'src/runtime/', 'src/events/', 'src/compute/simulated/'],
}

/** Who may go around a door of runtime/, and why. */
export const globalExceptions: GlobalException[] = [
  {
    path: 'src/wire/native/client.ts',
    what: ['fetch'],
    why: 'the client is the same in Node and in a browser; whoever has something better passes it in',
  },
]

/** Larger than allowed today. */
export const ratchet: Ratchet = {}
