/** `paddock limits`: shows or changes how much may be asked of a deployment. Keys have the same options. */
import type { ChangeLimits, Limits } from '../wire/native/limits.ts'
import { wholeOption } from './deploy.ts'
import { aboutDeployment, type Session } from './session.ts'

/** As typed: a number, or "none". */
export interface LimitOptions {
  rpm?: string
  tpm?: string
  concurrency?: string
}

export async function limits(session: Session, name: string, options: LimitOptions): Promise<void> {
  const { screen, client } = session
  const change = limitsBody(options)
  const isLook = Object.keys(change).length === 0
  const now = await aboutDeployment(name, isLook ? client.getLimits(name) : client.changeLimits(name, change))
  screen.answer(now, () => `${name}: ${limitsText(now)}.`)
}

/** Throws Failure (usage) for what is neither a number nor "none". */
export function limitsBody(options: LimitOptions): ChangeLimits {
  const body: ChangeLimits = {
    rpm: limitOption('--rpm', options.rpm),
    tpm: limitOption('--tpm', options.tpm),
    concurrency: limitOption('--concurrency', options.concurrency),
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined))
}

function limitOption(flag: string, text: string | undefined): number | null | undefined {
  return text === 'none' ? null : wholeOption(flag, text)
}

export function limitsText({ rpm, tpm, concurrency }: Limits): string {
  const set = [
    ...(rpm === null ? [] : [`${rpm} requests a minute`]),
    ...(tpm === null ? [] : [`${tpm} tokens a minute`]),
    ...(concurrency === null ? [] : [`${concurrency} at once`]),
  ]
  return set.length === 0 ? 'no limits' : set.join(', ')
}
