/**
 * The one table of everything that can go wrong towards a caller: HTTP status, and what caller and operator should do.
 * Whether a request that ends so is charged follows from its status (charge.ts). `docs/errors.md` is compared with it by
 * a test. Messages are written where the fault is raised; `action` here is the default sentence.
 */
import type { LedgerStatus } from './charge.ts'

export interface FaultMeaning {
  status: LedgerStatus
  /** What the caller should do. */
  action: string
  /** What the operator should look at; '' when nothing. */
  operator: string
}

const meaning = (status: LedgerStatus, action: string, operator = ''): FaultMeaning => ({ status, action, operator })

export const faultTable = {
  // 400: the request is wrong
  invalid_json: meaning(400, 'Send a body that is valid JSON.'),
  invalid_request: meaning(400, 'Correct the named fields and send the request again.'),
  unknown_field: meaning(400, 'Remove the named field; the API reference lists the fields of this route.'),
  context_length_exceeded: meaning(400, 'Shorten the messages or lower max_tokens.'),
  engine_parameter_refused: meaning(400, 'Remove the named field; it is not passed to engines.'),
  engine_unsupported: meaning(400, 'Choose a route or field that this engine has.'),
  model_path_not_allowed: meaning(
    400,
    'Use a model inside an allowed folder, or ask the operator to allow this one.',
    'Add the folder to models.allow_paths if tenants may deploy from it.',
  ),
  adapter_unsuitable: meaning(400, 'Bring the adapter in the format that this engine loads; error.detail says how.'),
  // 401, 403: who is asking
  missing_key: meaning(401, 'Send an API key as "Authorization: Bearer sk_…".'),
  invalid_key: meaning(401, 'Check the key, or create a new one; revoked and expired keys stay refused.'),
  forbidden: meaning(403, 'Ask an owner or admin of the organisation for the right named in the message.'),
  // 404: not there, or not yours
  not_found: meaning(404, 'Check the id; list what you can see with the list route.'),
  route_not_found: meaning(404, 'See /docs/api for the routes of this server.'),
  model_not_found: meaning(404, 'List what you can call with GET /v1/models.'),
  method_not_allowed: meaning(405, 'See /docs/api for the methods of this route.'),
  request_timeout: meaning(408, 'Send the whole request without long pauses.'),
  // 409: conflict with what is
  name_taken: meaning(409, 'Choose another name, or delete the deployment that holds it.'),
  conflict: meaning(409, 'Look at the current state and try again.'),
  downtime_not_allowed: meaning(
    409,
    'Free a place for one more replica, or send allow_downtime: true.',
    'Add hardware: a roll needs one spare place.',
  ),
  idempotency_conflict: meaning(409, 'Use a new Idempotency-Key for a different request.'),
  quota_exceeded: meaning(409, 'Use fewer GPUs, stop another deployment, or ask the operator to raise the quota.'),
  hardware_absent: meaning(
    409,
    'Send keep_hardware: true to keep the hardware as it is, or choose another preset or hardware.',
    'Presets name h100 and mi300x; offer them, or let people keep their hardware.',
  ),
  body_too_large: meaning(413, 'Send a smaller body.', 'gateway.max_body_bytes sets the limit.'),
  unsupported_media_type: meaning(415, 'Send Content-Type: application/json.'),
  // 422: valid, but impossible here
  model_not_supported: meaning(422, 'Choose one of the models listed in error.detail.'),
  does_not_fit: meaning(
    422,
    'Choose hardware on which it fits, a shorter engine.max_model_len or a smaller model; or send "force": true.',
  ),
  model_file_unreadable: meaning(422, 'Check that the file exists and is a complete GGUF file.'),
  adapter_mismatch: meaning(
    422,
    'Choose an adapter that was trained on the model of this deployment; error.detail says what does not fit.',
  ),
  adapter_unreadable: meaning(422, 'Check that the adapter is complete: error.detail says what is wrong with it.'),
  adapter_not_supported: meaning(422, 'Train or export the adapter without what error.detail names.'),
  gpu_type_unknown: meaning(422, 'Choose one of the hardware types listed in error.detail.'),
  gpu_count_unsupported: meaning(422, 'Choose one of the counts listed in error.detail.'),
  price_not_set: meaning(422, 'Choose another hardware type.', 'Set its price in the configuration to offer it.'),
  price_ceiling: meaning(422, 'Raise max_hourly_usd, or choose cheaper hardware or fewer replicas.'),
  region_unknown: meaning(422, 'Choose one of the regions listed in error.detail, or leave the region out.'),
  engine_not_available: meaning(
    422,
    'Choose an engine that this server has.',
    'Install the engine binary and put it on the PATH of the server.',
  ),
  // 422: what the Hub says of a repository
  hub_off: meaning(422, 'Choose a model of the catalogue.', 'Set hub.endpoint to let models come from a Hub.'),
  hub_token_missing: meaning(
    422,
    'Store a token with PUT /orgs/{id}/hf-token, of an account that was granted access to it; then deploy again.',
  ),
  hub_token_refused: meaning(422, 'Make a new token on the Hub and store it with PUT /orgs/{id}/hf-token.'),
  hub_access_not_granted: meaning(422, 'Ask for access on its page on the Hub with that account, then deploy again.'),
  hub_repo_not_found: meaning(422, 'Check the name.'),
  hub_revision_not_found: meaning(422, 'Name a branch, a tag or a whole commit that it has, or leave it out.'),
  hub_file_not_found: meaning(422, 'Choose one of those listed in error.detail, or leave the choice out.'),
  hub_files_missing: meaning(422, 'Choose a repository that is complete, or ask its owner to complete it.'),
  hub_no_weights: meaning(422, 'Choose a repository with safetensors or GGUF files.'),
  hub_repo_disabled: meaning(422, 'Choose another repository.'),
  hub_too_large: meaning(422, 'Choose a smaller model or quantisation.', 'hub.cache_max_bytes sets the limit.'),
  // 429: limits
  rate_limited: meaning(429, 'Wait for Retry-After seconds and try again.'),
  concurrency_limited: meaning(429, 'Send fewer requests at once.'),
  hold_full: meaning(503, 'Try again in a moment.', 'hold.max_requests and hold.max_bytes bound what is held.'),
  // 499, 5xx
  client_closed: meaning(499, ''),
  internal: meaning(
    500,
    'Try again; if it stays, give the request id to the operator.',
    'Look for the request id in the log.',
  ),
  engine_failed: meaning(500, 'Try again; the replica that failed is replaced.', 'Look at the engine’s last lines.'),
  gateway_lost: meaning(
    500,
    'Send the request again.',
    'The gateway that had the request was killed; the ledger learned it from its journal.',
  ),
  adapter_failed: meaning(
    503,
    'Look at GET /deployments/{id}/adapters for the reason; remove the adapter and add it again once it is corrected.',
    'No replica could load the adapter; its state says why.',
  ),
  starting: meaning(503, 'Try again after Retry-After seconds; the deployment is starting.'),
  capacity_short: meaning(
    503,
    'Try fewer replicas, comparable hardware, or a later time; the deployment stays queued meanwhile.',
    'Add hardware or free some.',
  ),
  quota_short: meaning(
    503,
    'Stop or shrink another deployment, or ask the operator to raise the quota; then send the request again.',
    'PATCH /orgs/{id}/quota raises it.',
  ),
  stopping: meaning(503, 'Start the deployment again when it has stopped.'),
  stopped: meaning(503, 'Start the deployment.'),
  failed: meaning(503, 'Read the reason, correct the deployment, and start it again.'),
  unavailable: meaning(503, 'Try again after Retry-After seconds.', 'A part of the server is down; see /readyz.'),
  hub_unreachable: meaning(
    503,
    'Try again after Retry-After seconds; what is deployed already is not concerned.',
    'Look whether the server can reach hub.endpoint.',
  ),
  hub_rate_limited: meaning(503, 'Try again after Retry-After seconds.'),
  journal_full: meaning(
    503,
    'Try again after Retry-After seconds.',
    'The journal of requests cannot be written, see /readyz; journal.when_full says what happens then.',
  ),
  shutting_down: meaning(503, 'Try again in a moment.'),
  upstream_timeout: meaning(504, 'Try again, or ask for a shorter answer.'),
} satisfies Record<string, FaultMeaning>

export type FaultCode = keyof typeof faultTable
