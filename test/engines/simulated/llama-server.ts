/**
 * Stands in for llama-server in tests: no model, but its command line, its port, its words and its faults, as read in the
 * sources of llama.cpp v0.5.0. It says so in its first line and in every answer. How it behaves stands in the header of its
 * GGUF file, under `simulated.behaviour`: it gets nothing else from a test.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Behaviour, bodyOf, counts, type Fields, produce, sendJson, type Work, workOf } from './work.ts'

/** Name → whether a value follows. Names are exact; underscores are hyphens to it. */
const known: Readonly<Record<string, boolean>> = {
  '--model': true,
  '--host': true,
  '--port': true,
  '--alias': true,
  '--ctx-size': true,
  '--parallel': true,
  '--threads': true,
  '--lora': true,
  '--lora-init-without-apply': false,
  '--metrics': false,
  '--no-slots': false,
  '--no-webui': false,
  '--offline': false,
  '--batch-size': true,
  '--ubatch-size': true,
  '--cache-type-k': true,
  '--cache-type-v': true,
  '--flash-attn': true,
  '--spec-type': true,
  '--n-gpu-layers': true,
  '--embeddings': false,
  '--pooling': true,
  '--mlock': false,
}
const cacheTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1']
/** A slot's context comes in steps of so many tokens. */
const slotStep = 256

if (process.argv[2] === '--version') {
  console.error('version: 9100 (0000000)\nbuilt with a test for this machine')
  process.exit(0)
}
const flags = readCommandLine(process.argv.slice(2))
const log = (text: string) => console.error(text)
log('This is no llama-server: it stands in for it in a test.')
const modelPath = flags.get('--model') ?? die('error: --model is required')
const key = process.env.LLAMA_API_KEY ?? ''
const served = flags.get('--alias') ?? modelPath
const slots = Number(flags.get('--parallel') ?? '4')
const slotTokens = Math.floor(Number(flags.get('--ctx-size') ?? '4096') / slots / slotStep) * slotStep
for (const name of ['--cache-type-k', '--cache-type-v'])
  if (!cacheTypes.includes(flags.get(name) ?? 'f16'))
    die(`error while handling argument "${name}": Unsupported cache type`)
const packed = /^i?q/.test(flags.get('--cache-type-v') ?? '')
if (packed && flags.get('--flash-attn') === 'off')
  die('llama_init_from_model: V cache quantization requires flash_attn')
const adapters = (flags.get('--lora') ?? '').split(',').filter(Boolean)
const scales: number[] = adapters.map(() => (flags.has('--lora-init-without-apply') ? 0 : 1))
for (const path of adapters)
  if (!existsSync(path)) die(`common_init_from_params: failed to load lora adapter '${path}'`)
const behaviour = behaviourOf(modelPath)
let state: 'loading' | 'ready' | 'ending' = 'loading'
let busy = 0
let deferred = 0

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    if (!response.headersSent) sendError(response, 500, 'server_error', error.message)
    else response.destroy()
  })
})
// It listens at once, and says that it loads. Until it is ready, SIGTERM just ends it.
server.listen(Number(flags.get('--port') ?? '8080'), flags.get('--host') ?? '127.0.0.1')
log('main: loading model')
await sleep(behaviour.loadMs + behaviour.warmupMs)
if (behaviour.failsWith !== null) die(behaviour.failsWith)
process.once('SIGTERM', stop)
state = 'ready'
log('main: server is listening')

/** Whatever runs is cut. */
function stop(): void {
  state = 'ending'
  log(`main: cleaning up before exit, ${busy} of its slots in use`)
  server.closeAllConnections()
  process.exit(0)
}

function readCommandLine(argv: readonly string[]): ReadonlyMap<string, string> {
  const read = new Map<string, string>()
  for (let at = 0; at < argv.length; at += 1) {
    const name = argv[at]!.startsWith('--') ? argv[at]!.replaceAll('_', '-') : argv[at]!
    if (!Object.hasOwn(known, name)) die(`error: invalid argument: ${argv[at]}`)
    if (known[name] && argv[at + 1] === undefined)
      die(`error while handling argument "${name}": expected value for argument`)
    read.set(name, known[name] ? argv[++at]! : '')
  }
  return read
}

function behaviourOf(path: string): Behaviour {
  const usual = { loadMs: 200, warmupMs: 200, failsWith: null }
  const head = Buffer.alloc(1 << 16)
  try {
    const fd = openSync(path, 'r')
    readSync(fd, head, 0, head.length, 0)
    closeSync(fd)
  } catch (error) {
    die(`gguf_init_from_file: failed to open GGUF file '${path}' (${(error as Error).message})`)
  }
  if (head.toString('latin1', 0, 4) !== 'GGUF') die(`gguf_init_from_file_impl: invalid magic characters`)
  const mark = 'simulated.behaviour'
  const at = head.indexOf(mark)
  if (at === -1) return usual
  // A text: its type in 4 bytes, its length in 8.
  const start = at + mark.length + 12
  return { ...usual, ...JSON.parse(head.toString('utf8', start, start + head.readUInt32LE(start - 8))) }
}

function die(why: string): never {
  console.error(why)
  process.exit(1)
}

function sendError(response: ServerResponse, status: number, type: string, message: string, over: object = {}): void {
  sendJson(response, status, { error: { code: status, message, type, ...over } })
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const path = (request.url ?? '/').split('?', 1)[0]
  const isOpen = path === '/health' || path === '/v1/health'
  const given = request.headers.authorization?.replace(/^Bearer /, '') ?? request.headers['x-api-key']
  if (!isOpen && given !== key) return sendError(response, 401, 'authentication_error', 'Invalid API Key')
  if (state === 'loading') return sendError(response, 503, 'unavailable_error', 'Loading model')
  if (path === '/health' || path === '/v1/health') return sendJson(response, 200, { status: 'ok' })
  if (path === '/metrics') return sendMetrics(response)
  if (path === '/v1/models') return sendJson(response, 200, models())
  if (path === '/props')
    return sendJson(response, 200, { total_slots: slots, model_path: modelPath, build_info: 'v0.5.0' })
  if (path === '/slots') return unsupported(response, 'slots endpoint', '--slots')
  if (path === '/lora-adapters') return loras(request, response)
  if (request.method !== 'POST') return sendError(response, 404, 'not_found_error', 'File Not Found')
  if (path === '/v1/chat/completions') return complete(true, await bodyOf(request), response)
  if (path === '/v1/completions') return complete(false, await bodyOf(request), response)
  if (path === '/v1/embeddings') return embed(await bodyOf(request), response)
  sendError(response, 404, 'not_found_error', 'File Not Found')
}

function unsupported(response: ServerResponse, what: string, flag: string): void {
  sendError(response, 501, 'not_supported_error', `This server does not support ${what}. Start it with \`${flag}\``)
}

function models(): object {
  const meta = { vocab_type: 2, n_vocab: 4096, n_ctx: slotTokens, n_ctx_train: 4096, n_embd: 64, n_params: 1, size: 1 }
  const card = { id: served, aliases: [], tags: [], object: 'model', created: 1, owned_by: 'llamacpp', meta }
  return { models: [{ name: served, model: served }], object: 'list', data: [card] }
}

async function loras(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'POST') {
    for (const { id, scale } of (await bodyOf(request)) as unknown as { id: number; scale: number }[]) {
      if (adapters[id] === undefined)
        return sendError(response, 400, 'invalid_request_error', `invalid adapter id ${id}`)
      scales[id] = scale
    }
    return sendJson(response, 200, { success: true })
  }
  const list = adapters.map((path, id) => ({ id, path, scale: scales[id], task_name: '', prompt_prefix: '' }))
  sendJson(response, 200, list)
}

/** What the answer begins with: the adapters that this request has, and how much of each; null = one that is not there. */
function openingOf({ lora }: Fields): string | null {
  const asked = (lora ?? adapters.map((_, id) => ({ id, scale: scales[id] }))) as { id: number; scale: number }[]
  if (asked.some(({ id }) => adapters[id] === undefined)) return null
  const used = asked
    .filter(({ scale }) => scale !== 0)
    .map(({ id, scale }) => `${adapters[id]!.split('/').at(-1)}@${scale}`)
  return used.length === 0 ? 'Simulated' : `Simulated with ${used.join('+')}`
}

async function complete(chat: boolean, fields: Fields, response: ServerResponse): Promise<unknown> {
  if (chat && !Array.isArray(fields.messages))
    return sendError(response, 400, 'invalid_request_error', "'messages' is required")
  const opening = openingOf(fields)
  if (opening === null) return sendError(response, 400, 'invalid_request_error', 'invalid LoRA adapter id')
  const work = workOf(chat, fields, opening)
  if (work.promptTokens >= slotTokens)
    return sendError(
      response,
      400,
      'exceed_context_size_error',
      `request (${work.promptTokens} tokens) exceeds the available context size (${slotTokens} tokens), try increasing it`,
      { n_prompt_tokens: work.promptTokens, n_ctx: slotTokens },
    )
  deferred += 1
  while (busy >= slots) await sleep(5)
  deferred -= 1
  busy += 1
  try {
    await (work.stream ? stream(work, fields.timings_per_token === true, response) : plain(work, response))
  } finally {
    busy -= 1
  }
}

const headOf = ({ chat }: Work, part: string) => ({
  created: 1,
  // Its own name, whatever was asked for.
  model: served,
  system_fingerprint: 'v0.5.0-simulated',
  object: chat ? `chat.completion${part}` : 'text_completion',
  id: `${chat ? 'chatcmpl-' : 'cmpl-'}simulated`,
})

async function plain(work: Work, response: ServerResponse): Promise<void> {
  let last = 0
  const finished = await produce(work, response, ending, ({ tokens }) => {
    last = tokens
  })
  if (!finished || response.destroyed) return
  if (work.trouble === 'error') return sendError(response, 500, 'server_error', 'Compute error.')
  const text = work.words.join('')
  const thoughts = work.thoughts.join('')
  const message = { role: 'assistant', content: text, ...(thoughts === '' ? {} : { reasoning_content: thoughts }) }
  const choice = { index: 0, ...(work.chat ? { message } : { text, logprobs: null }), finish_reason: work.finish }
  sendJson(response, 200, {
    choices: [choice],
    ...headOf(work, ''),
    usage: usageOf(work, last),
    timings: timingsOf(work, last),
  })
}

const ending = () => state === 'ending'

/** Cached tokens are always told; thoughts are not counted apart. */
function usageOf({ promptTokens, cachedTokens }: Work, tokens: number): object {
  return {
    completion_tokens: tokens,
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + tokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  }
}

function timingsOf({ promptTokens, cachedTokens, paceMs }: Work, tokens: number): object {
  return {
    cache_n: cachedTokens,
    prompt_n: promptTokens - cachedTokens,
    prompt_ms: 1,
    prompt_per_token_ms: 1,
    prompt_per_second: 1000,
    predicted_n: tokens,
    predicted_ms: tokens * paceMs,
    predicted_per_token_ms: paceMs,
    predicted_per_second: 1000 / paceMs,
  }
}

async function stream(work: Work, running: boolean, response: ServerResponse): Promise<unknown> {
  const head = headOf(work, '.chunk')
  const write = (choices: object[], over: object = {}) =>
    response.write(`data: ${JSON.stringify({ choices, ...head, ...over })}\n\n`)
  const choice = (said: object, finish: string | null = null) =>
    work.chat
      ? { finish_reason: finish, index: 0, delta: said }
      : { text: '', ...said, index: 0, logprobs: null, finish_reason: finish }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  // A sign of life, as after long silence.
  response.write(':\n\n')
  let last = 0
  const finished = await produce(work, response, ending, ({ thought, text, tokens }) => {
    if (last === 0 && work.chat) write([choice({ role: 'assistant', content: null })])
    last = tokens
    const said = work.chat ? (thought ? { reasoning_content: text } : { content: text }) : { text }
    write([choice(said)], running ? { timings: timingsOf(work, tokens) } : {})
  })
  if (!finished || response.destroyed) return
  if (work.trouble === 'no end') return response.end()
  if (work.trouble === 'error') {
    const error = { code: 500, message: 'Compute error.', type: 'server_error' }
    return response.end(`data: ${JSON.stringify({ error })}\n\n`)
  }
  const timings = timingsOf(work, last)
  const usage = usageOf(work, last)
  const separate = work.chat && work.includeUsage
  write([choice({}, work.finish)], { ...(work.chat ? {} : { usage }), ...(separate ? {} : { timings }) })
  if (separate) write([], { usage, timings })
  response.end('data: [DONE]\n\n')
}

function embed({ input }: Fields, response: ServerResponse): unknown {
  if (!flags.has('--embeddings')) return unsupported(response, 'embeddings', '--embeddings')
  if ((flags.get('--pooling') ?? 'none') === 'none')
    return sendError(
      response,
      400,
      'invalid_request_error',
      "Pooling type 'none' is not OAI compatible. Please use a different pooling type",
    )
  const inputs = Array.isArray(input) ? input : [input]
  const data = inputs.map((_, index) => ({ embedding: [0.6, 0.8], index, object: 'embedding' }))
  const tokens = inputs.join(' ').split(/\s+/).length
  sendJson(response, 200, {
    model: served,
    object: 'list',
    usage: { prompt_tokens: tokens, total_tokens: tokens },
    data,
  })
}

function sendMetrics(response: ServerResponse): unknown {
  if (!flags.has('--metrics')) return unsupported(response, 'metrics endpoint', '--metrics')
  const rows: [string, string, number][] = [
    ['prompt_tokens_total', 'counter', counts.prompt],
    ['tokens_predicted_total', 'counter', counts.generated],
    ['requests_processing', 'gauge', busy],
    ['requests_deferred', 'gauge', deferred],
  ]
  const text = rows.map(([name, type, n]) => `# TYPE llamacpp:${name} ${type}\nllamacpp:${name} ${n}\n`).join('')
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text)
}
