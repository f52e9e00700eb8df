/** `paddock rm`: tears a deployment down, and on request waits until it is gone. */
import type { Deployment } from '../wire/native/deployment.ts'
import { durationOption } from './deploy.ts'
import { aboutDeployment, type Session } from './session.ts'
import { untilGone } from './wait.ts'
import { elapsedText, usdShown } from './words.ts'

export async function rm(session: Session, name: string, options: { wait?: boolean; timeout: string }): Promise<void> {
  const timeoutMs = durationOption('--timeout', options.timeout)
  const { screen, client, clock } = session
  const began = clock.monotonicMs()
  const going = await aboutDeployment(name, client.deleteDeployment(name))
  if (!options.wait) return screen.answer(going, () => `${going.name} is being torn down.`)
  const last: Deployment = (await untilGone({ session, deployment: going, timeoutMs })) ?? going
  screen.answer({ ...last, phase: 'deleted', status: 'inactive' }, () => {
    return `${last.name} is gone after ${elapsedText(clock.monotonicMs() - began)}. It cost ${usdShown(last.cost_usd)}.`
  })
}
