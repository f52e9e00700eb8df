/** For tests: a process of its own that brings a model. */
import type { RemoteFiles } from '../../../engines/contract.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { silentLog } from '../../../runtime/log.ts'
import { HubCache } from '../cache.ts'
import { HubClient } from '../client.ts'
import { Fetches } from '../fetch.ts'
import { hubSource } from '../file-source.ts'
import { HubHttp } from '../http.ts'

const [, , endpoint = '', folder = '', content = ''] = process.argv
const fetches = new Fetches({
  cache: new HubCache(folder),
  source: hubSource(new HubClient(new HubHttp({ endpoint })), async () => null),
  clock: systemClock,
  log: silentLog,
  limits: { bytesMaximum: 0, freeBytesMinimum: 0 },
  filesAtOnce: 2,
  liveReplicas: async () => () => true,
  tell: async () => {},
})
process.stdout.write('started\n')
await fetches.want(JSON.parse(content) as RemoteFiles, 'rep_1', 'dep_1').done
process.stdout.write('done', () => process.exit(0))
