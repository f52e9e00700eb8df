/**
 * Stands in for vLLM in tests: no model, but its command line, its port, its words and its faults, as read in the sources
 * of 0.27 to 0.33. It says so in its first line and in every answer.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Flags, readFlags, refuse } from './flags.ts'
import { behaviourOf, bodyOf, contextOf, counts, type Fields, produce, sendJson, type Work, workOf } from './work.ts'

const known: Flags = {
  '--served-model-name': 'list',
  '--host': 'one',
  '--port': 'one',
  '--tensor-parallel-size': 'one',
  '--api-server-count': 'one',
  '--enable-prompt-tokens-details': 'none',
  '--disable-uvicorn-access-log': 'none',
  '--shutdown-timeout': 'one',
  '--max-model-len': 'one',
  '--max-num-seqs': 'one',
  '--enable-lora': 'none',
  '--max-loras': 'one',
  '--max-cpu-loras': 'one',
  '--max-lora-rank': 'one',
  '--performance-mode': 'one',
  '--speculative-config': 'one',
  '--quantization': 'one',
  '--kv-cache-dtype': 'one',
  '--tool-call-parser': 'one',
  '--reasoning-parser': 'one',
  '--enable-auto-tool-choice': 'none',
  '--enforce-eager': 'none',
  '--seed': 'one',
  '--middleware': 'one',
}
const ranks = [1, 8, 16, 32, 64, 128, 256, 320, 512]

const version = '0.33.0'
const [command, ...rest] = process.argv.slice(2)
if (command === '--version') {
  console.log(version)
  process.exit(0)
}
if (command !== 'serve') refuse('vllm', `argument subparser: invalid choice: '${command}'`)
// Underscores are hyphens to it, and a dot reaches into JSON.
const { flags, positional } = readFlags('vllm serve', rest, known, (name) => name.replaceAll('_', '-').split('.')[0]!)
const one = (name: string, usual: string) => flags.get(name)?.[0] ?? usual
const [modelPath = ''] = positional
const served = flags.get('--served-model-name')?.[0] ?? modelPath
const details = flags.has('--enable-prompt-tokens-details')
const shutdownMs = Number(one('--shutdown-timeout', '0')) * 1000
const rankMaximum = Number(one('--max-lora-rank', '16'))
if (!ranks.includes(rankMaximum)) refuse('vllm serve', `argument --max-lora-rank: invalid choice: ${rankMaximum}`)
const lora = flags.has('--enable-lora')
const key = process.env.VLLM_API_KEY ?? ''
const runtimeLora = lora && process.env.VLLM_ALLOW_RUNTIME_LORA_UPDATING === 'True'
const adapters = new Map<string, string>()
/** `draining`: it takes requests and gives them up at once. */
let state: 'serving' | 'draining' | 'ending' = 'serving'

const info = (text: string) => console.log(`INFO 11-21 10:00:00 [simulated.py:1] ${text}`)
info('This is no vLLM: it stands in for it in a test.')
info(`Initializing a V1 LLM engine (v${version}) with config: …`)
const modelContext = contextOf(modelPath)
const context = Number(one('--max-model-len', String(modelContext)))
if (context > modelContext)
  die(`ValueError: User-specified max_model_len (${context}) is greater than the derived max_model_len`)
if (lora && flags.has('--speculative-config')) die('ValueError: LoRA is not supported with speculative decoding')
const behaviour = behaviourOf(modelPath)

// Until it is ready its port refuses: told to stop, it just goes.
process.once('SIGTERM', () => process.exit(0))
info(`Starting to load model ${modelPath}...`)
await sleep(behaviour.loadMs)
info('Loading weights took 0.20 seconds')
info('Model loading took 0.1 GiB memory and 0.200000 seconds')
await sleep(behaviour.warmupMs)
if (behaviour.failsWith !== null) die(behaviour.failsWith)
info('Graph capturing finished in 0 secs, took 0.00 GiB')
info('init engine (profile, create kv cache, warmup model) took 0.20 s')

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    if (!response.headersSent) sendError(response, 500, 'InternalServerError', error.message)
    else response.destroy()
  })
})
server.keepAliveTimeout = 5_000
server.listen(Number(one('--port', '8000')), one('--host', '0.0.0.0'), () => info('Starting vLLM server on http://…'))
process.removeAllListeners('SIGTERM')
process.once('SIGTERM', () => void stop())

async function stop(): Promise<void> {
  info('Shutting down')
  state = 'draining'
  const until = performance.now() + shutdownMs
  while (counts.running > 0 && performance.now() < until) await sleep(20)
  state = 'ending'
  await sleep(300)
  process.exit(0)
}

function die(why: string): never {
  console.error(`(EngineCore pid=1) ERROR [core.py:1] EngineCore failed to start.\n${why}`)
  process.exit(1)
}

function sendError(
  response: ServerResponse,
  status: number,
  type: string,
  message: string,
  param: string | null = null,
) {
  sendJson(response, status, { error: { message, type, param, code: status } })
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const path = request.url ?? '/'
  if (path === '/health') return response.writeHead(200).end()
  if (path === '/version') return sendJson(response, 200, { version })
  if (path === '/metrics') return response.writeHead(200, { 'content-type': 'text/plain' }).end(metrics())
  // Only what begins so asks for the key.
  if (path.startsWith('/v1') && request.headers.authorization !== `Bearer ${key}`)
    return sendJson(response, 401, { error: 'Unauthorized' })
  if (path === '/v1/models') return sendJson(response, 200, { object: 'list', data: cards() })
  const isPost = request.method === 'POST'
  if (isPost && !/^application\/json/.test(request.headers['content-type'] ?? ''))
    return sendError(response, 400, 'Bad Request', "Unsupported Media Type: Only 'application/json' is allowed")
  if (isPost && path === '/v1/chat/completions') return complete(true, await bodyOf(request), response)
  if (isPost && path === '/v1/completions') return complete(false, await bodyOf(request), response)
  if (isPost && runtimeLora && path === '/v1/load_lora_adapter') return load(await bodyOf(request), response)
  if (isPost && runtimeLora && path === '/v1/unload_lora_adapter') return unload(await bodyOf(request), response)
  sendJson(response, 404, { detail: 'Not Found' })
}

function cards(): object[] {
  const common = { object: 'model', created: 1, owned_by: 'vllm', permission: [] }
  const base = { id: served, ...common, root: modelPath, parent: null, max_model_len: context }
  return [base, ...[...adapters].map(([id, root]) => ({ id, ...common, root, parent: served, max_model_len: null }))]
}

function load({ lora_name: name, lora_path: path, load_inplace: again }: Fields, response: ServerResponse): unknown {
  if (typeof name !== 'string' || typeof path !== 'string' || name === '' || path === '')
    return sendError(response, 400, 'InvalidUserInput', "Both 'lora_name' and 'lora_path' must be provided.")
  if (adapters.has(name) && again !== true)
    return sendError(
      response,
      400,
      'InvalidUserInput',
      `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
    )
  const config = join(path, 'adapter_config.json')
  if (!existsSync(config))
    return sendError(response, 404, 'NotFoundError', `Loading lora ${name} failed: No adapter found for ${path}`)
  const { r } = JSON.parse(readFileSync(config, 'utf8')) as { r: number }
  if (r > rankMaximum)
    return sendError(
      response,
      500,
      'InternalServerError',
      `LoRA rank ${r} is greater than max_lora_rank ${rankMaximum}.`,
    )
  adapters.set(name, path)
  response.writeHead(200).end(`Success: LoRA adapter '${name}' added successfully.`)
}

function unload({ lora_name: name }: Fields, response: ServerResponse): unknown {
  if (!adapters.delete(String(name)))
    return sendError(response, 404, 'NotFoundError', `The lora adapter '${name}' cannot be found.`)
  response.writeHead(200).end(`Success: LoRA adapter '${name}' removed successfully.`)
}

async function complete(chat: boolean, fields: Fields, response: ServerResponse): Promise<unknown> {
  const asked = fields.model
  const isBase = asked === undefined || asked === null || asked === '' || asked === served
  if (!isBase && !adapters.has(String(asked)))
    return sendError(response, 404, 'NotFoundError', `The model \`${asked}\` does not exist.`, 'model')
  const work = workOf(chat, fields, isBase ? 'Simulated' : `Simulated with ${asked}`)
  if (work.promptTokens >= context)
    return sendError(
      response,
      400,
      'BadRequestError',
      `This model's maximum context length is ${context} tokens. However, your request has ${work.promptTokens} input tokens.`,
      'input_tokens',
    )
  const head = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-simulated`,
    object: chat ? 'chat.completion' : 'text_completion',
    created: 1,
    // The first served name, or the adapter's.
    model: isBase ? served : asked,
  }
  if (work.stream) return stream(head, work, response)
  if (state === 'draining') return giveUp(head, work, response)
  const finished = await produce(
    work,
    response,
    () => state === 'ending',
    () => {},
  )
  if (!finished || work.trouble === 'abort') return giveUp(head, work, response)
  if (work.trouble === 'error')
    return sendError(response, 500, 'InternalServerError', 'EngineCore encountered an issue.')
  const text = work.words.join('')
  const message = { role: 'assistant', content: text, reasoning: work.thoughts.join('') || null, tool_calls: [] }
  const choice = { index: 0, ...(chat ? { message } : { text }), logprobs: null, finish_reason: work.finish }
  const tokens = work.thoughts.length + work.words.length
  sendJson(response, 200, { ...head, choices: [choice], usage: usageOf(work, tokens) })
}

/** What it answers once it is told to stop, or somebody aborts the request: a success to the eye. */
function giveUp(head: object, work: Work, response: ServerResponse): unknown {
  if (response.destroyed) return
  const empty = work.chat ? { message: { role: 'assistant', content: '' } } : { text: '' }
  sendJson(response, 200, {
    ...head,
    choices: [{ index: 0, ...empty, finish_reason: 'abort' }],
    usage: usageOf(work, 0),
  })
}

function usageOf({ promptTokens, cachedTokens }: Work, tokens: number): object {
  const counted = { prompt_tokens: promptTokens, total_tokens: promptTokens + tokens, completion_tokens: tokens }
  return { ...counted, ...(details ? { prompt_tokens_details: { cached_tokens: cachedTokens } } : {}) }
}

async function stream(head: object, work: Work, response: ServerResponse): Promise<unknown> {
  const object = work.chat ? 'chat.completion.chunk' : 'text_completion'
  // Running usage only with the final one.
  const every = work.includeUsage && work.everyUsage
  const chunk = (choices: object[], usage: object | null) =>
    response.write(`data: ${JSON.stringify({ ...head, object, choices, ...(usage === null ? {} : { usage }) })}\n\n`)
  const choice = (delta: object, finish: string | null = null) =>
    work.chat
      ? { index: 0, delta, logprobs: null, finish_reason: finish }
      : { index: 0, text: '', ...delta, finish_reason: finish }
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  if (work.chat) chunk([choice({ role: 'assistant', content: '' })], every ? usageOf(work, 0) : null)
  let last = 0
  const gaveUp = state === 'draining'
  const finished = await produce(
    work,
    response,
    () => gaveUp || state === 'ending',
    ({ thought, text, tokens }) => {
      last = tokens
      const delta = work.chat ? (thought ? { reasoning: text } : { content: text }) : { text }
      chunk([choice(delta)], every ? usageOf(work, tokens) : null)
    },
  )
  if (response.destroyed) return
  if (work.trouble === 'no end') return response.end()
  if (work.trouble === 'error') {
    const error = { message: 'EngineCore encountered an issue.', type: 'InternalServerError', param: null, code: 500 }
    return response.end(`data: ${JSON.stringify({ error })}\n\ndata: [DONE]\n\n`)
  }
  chunk([choice({}, finished && work.trouble !== 'abort' ? work.finish : 'abort')], every ? usageOf(work, last) : null)
  if (work.includeUsage) chunk([], usageOf(work, last))
  response.end('data: [DONE]\n\n')
}

function metrics(): string {
  const labels = `{engine="0",model_name="${served}"}`
  return [
    '# HELP vllm:num_requests_running Number of requests in model execution batches.',
    '# TYPE vllm:num_requests_running gauge',
    `vllm:num_requests_running${labels} ${counts.running}.0`,
    `vllm:num_requests_waiting${labels} 0.0`,
    `vllm:kv_cache_usage_perc${labels} 0.0`,
    `vllm:prompt_tokens_total${labels} ${counts.prompt}.0`,
    `vllm:generation_tokens_total${labels} ${counts.generated}.0`,
    `vllm:request_success_total{engine="0",finished_reason="stop",model_name="${served}"} ${counts.finished}.0`,
    `vllm:request_success_total{engine="0",finished_reason="abort",model_name="${served}"} ${counts.aborted}.0`,
    '',
  ].join('\n')
}
