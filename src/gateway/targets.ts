/** Which of the gateway's surfaces a request line means. Everything that is not named here belongs to control. */
import type { InferenceRoute } from '../engines/contract.ts'

export type Target =
  | { kind: 'inference'; route: InferenceRoute; orgId: string | null; deploymentId: string | null }
  | { kind: 'models'; model: string | null }
  | { kind: 'healthz' }
  | { kind: 'readyz' }
  | { kind: 'control' }
  /** Known path, wrong method; `dialect` says whose error body the client expects. */
  | { kind: 'method_not_allowed'; allow: string; dialect: 'openai' | 'native' }

const inferenceRoutes: readonly InferenceRoute[] = [
  'chat/completions',
  'completions',
  'embeddings',
  'responses',
  'rerank',
  'messages',
  'messages/count_tokens',
]
const control: Target = { kind: 'control' }
const getOnly = { kind: 'method_not_allowed', allow: 'GET, HEAD' } as const
const postOnly: Target = { kind: 'method_not_allowed', allow: 'POST', dialect: 'openai' }
const modelRoutes = new Map<string, Target>(
  inferenceRoutes.map((route) => [`/v1/${route}`, { kind: 'inference', route, orgId: null, deploymentId: null }]),
)
const publicBase = '/api/v1/public/'
const deploymentRoute = new RegExp(
  // Some clients add the `/v1` themselves.
  `^/api/v1/public/(?:orgs/([^/]+)/)?deployments/([^/]+)/(?:v1/)?(${inferenceRoutes.join('|')})$`,
)
const controlMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

export function matchTarget(method: string, url: string): Target {
  const path = pathOf(url)
  const byModel = modelRoutes.get(path)
  if (byModel) return method === 'POST' ? byModel : postOnly
  const reads = method === 'GET' || method === 'HEAD'
  if (path === '/healthz') return reads ? { kind: 'healthz' } : { ...getOnly, dialect: 'native' }
  if (path === '/readyz') return reads ? { kind: 'readyz' } : { ...getOnly, dialect: 'native' }
  if (path === '/v1/models' || path.startsWith('/v1/models/')) return models(path, reads)
  if (path.startsWith(publicBase)) {
    const match = deploymentRoute.exec(path)
    if (match) return deployment(method, match)
  }
  if (!controlMethods.has(method))
    return { kind: 'method_not_allowed', allow: [...controlMethods].join(', '), dialect: 'native' }
  return control
}

function models(path: string, reads: boolean): Target {
  if (!reads) return { ...getOnly, dialect: 'openai' }
  const rest = path.slice('/v1/models/'.length)
  return { kind: 'models', model: rest === '' ? null : decoded(rest) }
}

function deployment(method: string, match: RegExpExecArray): Target {
  if (method !== 'POST') return postOnly
  const orgId = match[1] === undefined ? null : decoded(match[1])
  return { kind: 'inference', route: match[3] as InferenceRoute, orgId, deploymentId: decoded(match[2]!) }
}

/** The path of a request target without its query; also of the absolute form, which servers must accept. */
function pathOf(url: string): string {
  const query = url.indexOf('?')
  const path = query === -1 ? url : url.slice(0, query)
  return path.charCodeAt(0) === 0x2f ? path : path.replace(/^https?:\/\/[^/]*/i, '')
}

/** As it stands when it is not decodable: it will name nothing. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
