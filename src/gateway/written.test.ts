/** Nothing is asked and nothing is answered whole before it is written down, however long that takes. */
import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import type { Journal } from '../usage/journal/journal.ts'
import { openJournal, temporaryRoot } from '../usage/journal/testing.ts'
import type { Metering } from './settle.ts'
import { MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const engine = new MockEngine()
before(() => engine.listen())
after(() => engine.close())

/** A journal whose writes take as long as the test wants. */
class SlowJournal implements Metering {
  readonly #journal: Journal
  readonly #waiting: (() => void)[] = []

  constructor(journal: Journal) {
    this.#journal = journal
  }

  open: Metering['open'] = (draft) => this.#journal.open(draft)
  settle: Metering['settle'] = (opened, request) => this.#journal.settle(opened, request)
  requireRoom: Metering['requireRoom'] = () => this.#journal.requireRoom()
  state: Metering['state'] = () => this.#journal.state()
  written: Metering['written'] = () => new Promise((resolve) => this.#waiting.push(resolve))

  get waiting(): number {
    return this.#waiting.length
  }

  goOn(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

async function start(t: TestContext) {
  const afterOf = (end: () => void | Promise<void>) => t.after(end)
  const metering = new SlowJournal(await openJournal(afterOf, temporaryRoot(afterOf)))
  const bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })], metering })
  t.after(() => bench.gateway.close({ drainMs: 0 }))
  engine.asked.length = 0
  return { metering, bench }
}

const wait = (what: string, probe: () => boolean) => until(systemClock, what, 20_000, probe, 2)
const messages = [{ role: 'user', content: 'Hi' }]

for (const stream of [false, true])
  test(`${stream ? 'a stream' : 'a plain answer'} waits for both writes`, async (t) => {
    const { metering, bench } = await start(t)
    let text = ''
    let isOver = false
    const answered = bench.chat({ messages, stream }).then(async (answer) => {
      for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) text += piece
      isOver = true
    })
    await wait('it is to be written that it began', () => metering.waiting === 1)
    await systemClock.sleep(30)
    assert.equal(engine.asked.length, 0)
    metering.goOn()
    await wait('it is to be written that it ended', () => metering.waiting === 1)
    await systemClock.sleep(30)
    assert.equal(engine.asked.length, 1)
    assert.deepEqual([isOver, text.includes(stream ? '[DONE]' : '}')], [false, false])
    metering.goOn()
    await answered
    assert.equal(bench.settled.at(-1)!.status, 200)
  })

test('whose client leaves while its beginning is written is not sent to an engine', async (t) => {
  const { metering, bench } = await start(t)
  const leaves = new AbortController()
  const answer = bench.chat({ messages, stream: true }, { signal: leaves.signal })
  await wait('it is to be written', () => metering.waiting === 1)
  leaves.abort()
  await assert.rejects(answer)
  await systemClock.sleep(30)
  metering.goOn()
  await bench.settledUntil(1)
  assert.deepEqual([bench.settled[0]!.status, engine.asked.length], [499, 0])
})
