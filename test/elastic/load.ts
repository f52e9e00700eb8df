/**
 * Clients under load, who look closely at every answer: a stream is whole only when each of its tokens came, in order,
 * then why it ended, then `[DONE]`. Beyond that nothing is assumed: what is tolerable is for the test to say.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { Server } from '../e2e/harness.ts'

export interface Ask {
  /** Name or id of the deployment. */
  model: string
  tokens: number
  stream: boolean
}

export interface Answer {
  ask: Ask
  /** What was on the wire; 0 = the connection went without one. */
  status: number
  /** What happened, in one word: `whole` is the only good one. */
  kind: 'whole' | 'refused' | 'error_event' | 'truncated' | 'incomplete' | 'lost'
  /** Code of the error that was told, or what exactly was wrong. */
  code: string
  replica: string | null
  tokens: number
  comments: number
  retryAfter: string | null
  shouldRetry: string | null
  ms: number
}

export class Clients {
  readonly #server: Server
  readonly #agent = new Agent({ connections: 2_000, headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 60_000 } })
  readonly answers: Answer[] = []
  /** The same by replica, where the answer names it: one that was held may have begun before there was one. */
  readonly flowing = new Map<string, number>()

  constructor(server: Server) {
    this.#server = server
  }

  /** Asks once; never throws. */
  async ask(ask: Ask, signal?: AbortSignal): Promise<Answer> {
    const began = performance.now()
    const answer = await this.#exchange(ask, signal).catch((error: Error) => ({ ...empty, code: error.message }))
    const full = { ...answer, ask, ms: performance.now() - began }
    this.answers.push(full)
    return full
  }

  /** All at once. */
  burst(count: number, of: (index: number) => Ask): Promise<Answer[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => this.ask(of(index))))
  }

  /** So many at a time, one after the other, until `enough` says so. Resolves when the last is answered. */
  async keepAsking(atOnce: number, of: (index: number) => Ask, enough: () => boolean): Promise<Answer[]> {
    const answers: Answer[] = []
    let index = 0
    const one = async () => {
      while (!enough()) {
        const answer = await this.ask(of(index++))
        answers.push(answer)
        // A server that refuses at once must not be asked in a spin.
        if (answer.kind !== 'whole') await sleep(20)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, one))
    return answers
  }

  /** `replica` null: what comes is no stream. */
  async #read(body: AsyncIterable<string>, replica: string | null): Promise<{ text: string; error: Error | null }> {
    let text = ''
    let flows = false
    try {
      for await (const part of body) {
        text += part
        if (flows || replica === null || !/"content":"[^"]/.test(text)) continue
        flows = true
        this.#count(replica, 1)
      }
      return { text, error: null }
    } catch (error) {
      return { text, error: error as Error }
    } finally {
      if (flows) this.#count(replica!, -1)
    }
  }

  #count(replica: string, more: number): void {
    this.flowing.set(replica, (this.flowing.get(replica) ?? 0) + more)
  }

  /** Streams whose first words have come and whose end has not. */
  get flowingNow(): number {
    return [...this.flowing.values()].reduce((sum, count) => sum + count, 0)
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  async #exchange({ model, tokens, stream }: Ask, signal?: AbortSignal): Promise<typeof empty> {
    const { statusCode, headers, body } = await request(`${this.#server.url}/v1/chat/completions`, {
      method: 'POST',
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#server.operatorKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model,
        messages: [{ role: 'user', content: 'Hello' }],
        max_tokens: tokens,
        ignore_eos: true,
        stream,
        ...(stream ? { stream_options: { include_usage: true, continuous_usage_stats: true } } : {}),
      }),
      signal,
    })
    const said = {
      status: statusCode,
      replica: header(headers['x-paddock-replica']),
      retryAfter: header(headers['retry-after']),
      shouldRetry: header(headers['x-should-retry']),
    }
    const { text, error } = await this.#read(body.setEncoding('utf8'), stream ? (said.replica ?? '') : null)
    if (error !== null) return { ...empty, ...said, kind: 'truncated', code: error.message }
    const judged = statusCode !== 200 ? refused(text) : stream ? judgeStream(text, tokens) : judgePlain(text, tokens)
    return { ...empty, ...said, ...judged }
  }
}

const empty: Omit<Answer, 'ask' | 'ms'> = {
  status: 0,
  kind: 'lost',
  code: '',
  replica: null,
  tokens: 0,
  comments: 0,
  retryAfter: null,
  shouldRetry: null,
}

type Judged = Partial<typeof empty>

interface Chunk {
  choices?: { delta?: { content?: string }; message?: { content: string }; finish_reason?: string | null }[]
  usage?: { completion_tokens: number } | null
  error?: { code: string }
}

function refused(text: string): Judged {
  return { kind: 'refused', code: (JSON.parse(text) as Chunk).error!.code }
}

function judgePlain(text: string, wanted: number): Judged {
  const { choices, usage } = JSON.parse(text) as Chunk
  const tokens = usage?.completion_tokens ?? 0
  const whole = tokens === wanted && choices?.[0]?.finish_reason === 'length' && choices[0].message!.content !== ''
  return { kind: whole ? 'whole' : 'incomplete', tokens, code: whole ? '' : text.slice(0, 200) }
}

/** Every event looked at. Each chunk says how many tokens there are so far, so that none can be missing in between. */
function judgeStream(text: string, wanted: number): Judged {
  let [tokens, comments, finish, problem, done] = [0, 0, '', '', false]
  for (const event of text.split('\n\n').filter((one) => one !== '')) {
    if (done) problem = 'something came after [DONE]'
    if (event.startsWith(':')) comments += 1
    else if (event === 'data: [DONE]') done = true
    else {
      const chunk = JSON.parse(event.slice('data: '.length)) as Chunk
      if (chunk.error) return { kind: 'error_event', code: chunk.error.code, tokens, comments }
      const now = chunk.usage?.completion_tokens ?? tokens
      if (now !== tokens && now !== tokens + 1) problem = `from token ${tokens} to ${now}`
      tokens = now
      finish = chunk.choices?.[0]?.finish_reason ?? finish
    }
  }
  if (!done) return { kind: 'truncated', code: 'no [DONE]', tokens, comments }
  if (finish !== 'length') problem = `it ended because of "${finish}"`
  if (tokens !== wanted) problem = `${tokens} of ${wanted} tokens`
  return { kind: problem === '' ? 'whole' : 'incomplete', code: problem, tokens, comments }
}

function header(value: string | string[] | undefined): string | null {
  return typeof value === 'string' ? value : null
}

/** How often each kind came: `{whole: 500}` when all is well. */
export function kinds(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { kind, status, code } of answers) {
    const key = kind === 'whole' ? 'whole' : `${kind} ${status} ${code}`
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}
