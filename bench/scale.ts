/**
 * How long a step of load that needs eight replicas waits for them while one runs: our policies beside the formulas of
 * peers, replayed in the same simulator, with starts that take no time and starts that take a minute.
 */
import type { Measured } from './report.ts'
import { own } from './scale/own.ts'
import { dstack, knative, kubeai, skyserve } from './scale/peers.ts'
import { type Controller, stepLoad, world } from './scale/world.ts'

const startSeconds = [0, 60]
/** Ours: seconds after the starts' own. */
const targets = new Map([
  ['target', 10],
  ['steps', 660],
])

const controllers: [name: string, make: () => Controller][] = [
  ['target', () => own('target')],
  ['steps', () => own('steps')],
  ['Knative', knative],
  ['SkyServe', skyserve],
  ['dstack', dstack],
  ['KubeAI', kubeai],
]

export const bench = {
  name: 'scale',
  about: `Step load that needs ${world.needed} replicas when 1 runs: seconds until ${world.needed} are ready (simulated)`,
  run: (report: (measured: Measured) => void): void => {
    for (const seconds of startSeconds)
      for (const [name, make] of controllers) {
        const { readyAt, wishedAt, most, unserved } = stepLoad(make(), seconds)
        const target = targets.get(name)
        report({
          name: `${name}, starts of ${seconds} s`,
          value: readyAt,
          unit: 's',
          ...(target === undefined ? {} : { target: target + seconds }),
          why: `wished after ${wishedAt ?? '—'} s, at most ${most}; ${Math.round(unserved)} requests unserved meanwhile`,
        })
      }
  },
}
