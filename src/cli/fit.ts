/** `paddock fit`: will it fit, what does it cost, what would do better. Creates nothing. */
import { type DeployOptions, deployBody } from './deploy.ts'
import { predictionLines } from './prediction-text.ts'
import type { Session } from './session.ts'

/** The name is nobody's: what is asked is whether the model fits, not whether a name is free. */
const anyName = 'fit'

export async function fit({ screen, client }: Session, model: string, options: DeployOptions): Promise<void> {
  const predicted = await client.predictDeployment({ ...deployBody(model, options), name: anyName })
  const refusals = predicted.refusals.filter(({ code }) => code !== 'name_taken')
  const shown = { ...predicted, refusals, would_create: refusals.length === 0 }
  screen.answer(shown, () => predictionLines(shown, screen))
}
