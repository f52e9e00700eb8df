/** How long `serve` takes on existing data until it is ready for requests. */
import { systemClock, until } from '../src/runtime/clock.ts'
import { isReady, Run, startServer } from '../test/e2e/harness.ts'
import { Place } from '../test/e2e/place.ts'
import { median } from './median.ts'
import type { Bench } from './report.ts'

const rounds = 5
const targetSeconds = 1.5
const lookEveryMs = 5

export const bench: Bench = {
  name: 'start',
  about: 'paddock serve with existing data until /readyz says yes (median of 5)',
  run: async (report) => {
    const place = new Place()
    try {
      const first = await startServer(place)
      await first.deploy('kept')
      await first.active('kept')
      await first.stop()
      const seconds: number[] = []
      for (let round = 0; round < rounds; round++) seconds.push(await startOnce(place, first.url))
      report({ name: 'serve start to ready', value: median(seconds), unit: 's', target: targetSeconds })
    } finally {
      await place.remove()
    }
  },
}

async function startOnce(place: Place, url: string): Promise<number> {
  const began = performance.now()
  const run = new Run(place, { port: Number(new URL(url).port) })
  await until(systemClock, 'ready', 30_000, () => isReady(url), lookEveryMs)
  const seconds = (performance.now() - began) / 1000
  run.child.kill('SIGTERM')
  await run.end()
  return seconds
}
