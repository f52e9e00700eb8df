/**
 * Stands in for SGLang in tests: no model, but its command line, its port, its words and its faults, as read in the
 * sources of 0.5.16 to 0.5.23. It says so in its first line and in every answer.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Flags, readFlags, refuse } from './flags.ts'
import { behaviourOf, bodyOf, contextOf, counts, type Fields, produce, sendJson, type Work, workOf } from './work.ts'

const known: Flags = {
  '--model-path': 'one',
  '--served-model-name': 'one',
  '--config': 'one',
  '--host': 'one',
  '--port': 'one',
  '--tp-size': 'one',
  '--enable-metrics': 'none',
  '--enable-cache-report': 'none',
  '--context-length': 'one',
  '--max-running-requests': 'one',
  '--max-queued-requests': 'one',
  '--enable-lora': 'none',
  '--max-loras-per-batch': 'one',
  '--max-loaded-loras': 'one',
  '--max-lora-rank': 'one',
  '--lora-target-modules': 'list',
  '--chunked-prefill-size': 'one',
  '--schedule-policy': 'one',
  '--speculative-algorithm': 'one',
  '--quantization': 'one',
  '--kv-cache-dtype': 'one',
  '--tool-call-parser': 'one',
  '--reasoning-parser': 'one',
  '--random-seed': 'one',
  '--api-key': 'one',
}

const [command, ...rest] = process.argv.slice(2)
if (command === 'version') {
  console.log('sglang version: 0.5.23\ngit revision: 0000000')
  process.exit(0)
}
if (command !== 'serve') refuse('sglang', `argument subcommand: invalid choice: '${command}'`)
const { flags } = readFlags('sglang serve', rest, known, (name) => name)
const one = (name: string, usual: string) => flags.get(name)?.[0] ?? usual
const modelPath = one('--model-path', '')
const served = one('--served-model-name', modelPath)
const cacheReport = flags.has('--enable-cache-report')
const lora = flags.has('--enable-lora')
const rankMaximum = Number(one('--max-lora-rank', '16'))
const queueMaximum = Number(one('--max-queued-requests', '1000'))
const key = keyFrom(one('--config', ''))
const adapters = new Map<string, string>()
let warm = false
let leaving = false

const log = (text: string) => console.log(`[2026-11-21 10:00:00] ${text}`)
log('This is no SGLang: it stands in for it in a test.')
const modelContext = contextOf(modelPath)
const context = Number(one('--context-length', String(modelContext)))
if (context > modelContext)
  die(
    `ValueError: User-specified context_length (${context}) is greater than the derived context_length (${modelContext}).`,
  )
const per = Number(one('--max-loras-per-batch', '8'))
if (lora && Number(one('--max-loaded-loras', '1000')) < per)
  die('AssertionError: max_loaded_loras should be greater than or equal to max_loras_per_batch.')
if (Number(one('--tp-size', '1')) < 1) die('AssertionError: tp_size')
const behaviour = behaviourOf(modelPath)

process.once('SIGTERM', () => process.exit(143))
log('Load weight begin. avail mem=78.58 GB')
await sleep(behaviour.loadMs)
log('Load weight end. elapsed=0.20 s, type=LlamaForCausalLM, avail mem=63.40 GB')
if (behaviour.failsWith !== null) die(behaviour.failsWith)

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    if (!response.headersSent) sendError(response, 500, 'InternalServerError', error.message)
    else response.destroy()
  })
})
server.listen(Number(one('--port', '30000')), one('--host', '127.0.0.1'), () => log('Uvicorn running'))
process.removeAllListeners('SIGTERM')
process.once('SIGTERM', () => void drain())
// It asks itself something before it says that it is well.
await sleep(behaviour.warmupMs)
warm = true
log('The server is fired up and ready to roll!')

/** Without an end: it looks now and then whether somebody is still served. */
async function drain(): Promise<void> {
  leaving = true
  log('SIGTERM received. Draining requests and shutting down...')
  do {
    await sleep(500)
    log(`Gracefully exiting... Remaining number of requests ${counts.running}.`)
  } while (counts.running > 0)
  process.exit(0)
}

function die(why: string): never {
  console.error(`Traceback (most recent call last):\n${why}`)
  process.exit(1)
}

/** `api-key: "…"`, one line of YAML. */
function keyFrom(path: string): string {
  if (path === '' || !existsSync(path)) refuse('sglang serve', `Config file not found: ${path}`)
  return JSON.parse(/^api-key: (".*")$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? '""')
}

/** Flat, with no `error` around it. */
function sendError(response: ServerResponse, status: number, type: string, message: string): void {
  sendJson(response, status, { object: 'error', message, type, param: null, code: status })
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const path = request.url ?? '/'
  if (path === '/health') {
    // With SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION it generates a token each time, and takes a second.
    if (process.env.SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION !== '0') await sleep(1_000)
    return response.writeHead(warm && !leaving ? 200 : 503).end()
  }
  if (path === '/metrics' && flags.has('--enable-metrics'))
    return response.writeHead(200, { 'content-type': 'text/plain' }).end(metrics())
  if (request.headers.authorization !== `Bearer ${key}`) return sendJson(response, 401, { error: 'Unauthorized' })
  if (path === '/v1/models') return sendJson(response, 200, { object: 'list', data: cards() })
  const isPost = request.method === 'POST'
  if (isPost && path.startsWith('/v1/') && !/^application\/json/.test(request.headers['content-type'] ?? ''))
    return sendError(response, 400, 'BadRequestError', "Unsupported Media Type: Only 'application/json' is allowed")
  if (isPost && path === '/v1/chat/completions') return complete(true, await bodyOf(request), response)
  if (isPost && path === '/v1/completions') return complete(false, await bodyOf(request), response)
  if (isPost && path === '/load_lora_adapter') return load(await bodyOf(request), response)
  if (isPost && path === '/unload_lora_adapter') return unload(await bodyOf(request), response)
  sendJson(response, 404, { detail: 'Not Found' })
}

function cards(): object[] {
  const common = { object: 'model', created: 1, owned_by: 'sglang' }
  const base = { id: served, ...common, root: served, parent: null, max_model_len: context }
  return [base, ...[...adapters].map(([id, root]) => ({ id, ...common, root, parent: served, max_model_len: null }))]
}

function told(response: ServerResponse, why: string | null): unknown {
  const loaded = Object.fromEntries(adapters)
  return sendJson(response, why === null ? 200 : 400, {
    success: why === null,
    error_message: why,
    loaded_adapters: loaded,
  })
}

function load({ lora_name: name, lora_path: path }: Fields, response: ServerResponse): unknown {
  if (!lora) return told(response, 'LoRA is not enabled. Please set `--enable-lora` to enable LoRA.')
  if (adapters.has(String(name)))
    return told(response, `Failed to load LoRA adapter ${name} because it is already loaded`)
  const config = join(String(path), 'adapter_config.json')
  if (!existsSync(config)) return told(response, `Can't find 'adapter_config.json' at '${path}'`)
  const { r } = JSON.parse(readFileSync(config, 'utf8')) as { r: number }
  if (r > rankMaximum)
    return told(
      response,
      `LoRA adapter ${name} with rank ${r} is incompatible with the current LoRA memory pool configuration.`,
    )
  adapters.set(String(name), String(path))
  told(response, null)
}

function unload({ lora_name: name }: Fields, response: ServerResponse): unknown {
  if (!lora) return told(response, 'LoRA is not enabled. Please set `--enable-lora` to enable LoRA.')
  if (!adapters.delete(String(name)))
    return told(response, `LoRA with name ${name} does not exist. Loaded LoRAs: dict_keys([])`)
  told(response, null)
}

async function complete(chat: boolean, fields: Fields, response: ServerResponse): Promise<unknown> {
  // Whatever is named runs the model; what follows a colon is an adapter's name.
  const [, adapter] = String(fields.model ?? served).split(':')
  if (adapter !== undefined && !adapters.has(adapter))
    return sendError(
      response,
      400,
      'BadRequestError',
      `The following requested LoRA adapters are not loaded: {'${adapter}'}`,
    )
  const work = workOf(chat, fields, adapter === undefined ? 'Simulated' : `Simulated with ${adapter}`)
  if (work.promptTokens >= context)
    return sendError(
      response,
      400,
      'BadRequestError',
      `The input (${work.promptTokens} tokens) is longer than the model's context length (${context} tokens).`,
    )
  if (counts.running >= queueMaximum)
    return sendError(response, 503, 'ServiceUnavailable', 'The request queue is full.')
  const object = chat ? 'chat.completion' : 'text_completion'
  const head = { id: 'simulated', object, created: 1, model: fields.model ?? served }
  if (work.stream) return stream(head, work, response)
  await produce(
    work,
    response,
    () => false,
    () => {},
  )
  if (response.destroyed) return
  if (work.trouble === 'error') return sendError(response, 500, 'InternalServerError', 'Scheduler hit an exception.')
  // Somebody had it aborted (`/abort_request`): without a status of its own it looks like an end.
  const finish = work.trouble === 'abort' ? 'abort' : work.finish
  const text = work.words.join('')
  const thoughts = work.thoughts.join('') || null
  const message = { role: 'assistant', content: text, reasoning_content: thoughts, tool_calls: null }
  const choice = {
    index: 0,
    ...(chat ? { message } : { text }),
    logprobs: null,
    finish_reason: finish,
    matched_stop: null,
  }
  const tokens = work.thoughts.length + work.words.length
  sendJson(response, 200, {
    ...head,
    choices: [choice],
    usage: usageOf(work, tokens),
    metadata: { weight_version: 'default' },
  })
}

/** What was cached is told when there was something; thoughts are counted at the top. */
function usageOf({ promptTokens, cachedTokens, thoughts }: Work, tokens: number): object {
  const details = cacheReport && cachedTokens > 0 ? { cached_tokens: cachedTokens } : null
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + tokens,
    completion_tokens: tokens,
    prompt_tokens_details: details,
    reasoning_tokens: Math.min(thoughts.length, tokens),
  }
}

async function stream(head: object, work: Work, response: ServerResponse): Promise<unknown> {
  const object = work.chat ? 'chat.completion.chunk' : 'text_completion'
  const chunk = (choices: object[], usage: object | null) =>
    response.write(`data: ${JSON.stringify({ ...head, object, choices, ...(usage === null ? {} : { usage }) })}\n\n`)
  const choice = (delta: object, finish: string | null = null) =>
    work.chat
      ? { index: 0, delta, logprobs: null, finish_reason: finish }
      : { index: 0, text: '', ...delta, finish_reason: finish }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  if (work.chat) chunk([choice({ role: 'assistant', content: '' })], null)
  let last = 0
  await produce(
    work,
    response,
    () => false,
    ({ thought, text, tokens }) => {
      last = tokens
      const delta = work.chat ? (thought ? { content: null, reasoning_content: text } : { content: text }) : { text }
      // Running usage whether the final one was asked for or not.
      chunk([choice(delta)], work.everyUsage ? usageOf(work, tokens) : null)
    },
  )
  if (response.destroyed) return
  if (work.trouble === 'no end') return response.end()
  if (work.trouble === 'error') {
    const error = {
      object: 'error',
      message: 'Scheduler hit an exception.',
      type: 'InternalServerError',
      param: null,
      code: 500,
    }
    return response.end(`data: ${JSON.stringify({ error })}\n\ndata: [DONE]\n\n`)
  }
  chunk([choice({}, work.trouble === 'abort' ? 'abort' : work.finish)], null)
  if (work.includeUsage) chunk([], usageOf(work, last))
  response.end('data: [DONE]\n\n')
}

function metrics(): string {
  const labels = `{engine_type="unified",model_name="${served}",pp_rank="0",tp_rank="0"}`
  return [
    '# HELP sglang:num_running_reqs The number of running requests.',
    '# TYPE sglang:num_running_reqs gauge',
    `sglang:num_running_reqs${labels} ${counts.running}.0`,
    `sglang:num_queue_reqs${labels} 0.0`,
    `sglang:token_usage${labels} 0.0`,
    `sglang:prompt_tokens_total{is_streaming="true",model_name="${served}"} ${counts.prompt}.0`,
    `sglang:generation_tokens_total{model_name="${served}"} ${counts.generated}.0`,
    `sglang:num_aborted_requests_total{model_name="${served}"} ${counts.aborted}.0`,
    '',
  ].join('\n')
}
