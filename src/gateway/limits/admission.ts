/** One request that was let in: what it was reckoned at with everybody whose limits it has, until it is settled. */
import type { Usage } from '../../usage/request.ts'
import type { Estimate } from './estimate.ts'
import type { Subject } from './subject.ts'

interface Entered {
  subject: Subject
  /** In the window; −1 = the subject counts neither requests nor tokens. */
  entry: number
  tokens: number
  /** It may turn out larger. */
  open: boolean
}

export class Admission {
  /** As the subjects were given: its deployment first, its key last. */
  readonly entered: readonly Entered[]

  private constructor(entered: readonly Entered[]) {
    this.entered = entered
  }

  /** All or none: null when another worker took the last place of one. Only after all have said yes. */
  static take(subjects: readonly Subject[], now: number, size: Estimate): Admission | null {
    for (let at = 0; at < subjects.length; at++) {
      if (subjects[at]!.enter(now)) continue
      while (at > 0) subjects[--at]!.leave()
      return null
    }
    return new Admission(subjects.map((subject) => count(subject, now, size)))
  }

  /** Somebody may wait, in whichever line, for its key to have room. */
  get isAwaited(): boolean {
    return this.entered.at(-1)!.subject.waiting > 0
  }

  /** What it really took; `usage` null = nothing. Once. */
  end(now: number, usage: Usage | null): void {
    const tokens = usage === null ? 0 : usage.promptTokens + usage.completionTokens
    for (const one of this.entered) settle(one, now, tokens)
  }
}

function count(subject: Subject, now: number, size: Estimate): Entered {
  const { rpm, tpm } = subject.limits
  if (rpm === null && tpm === null) return { subject, entry: -1, tokens: 0, open: false }
  const open = !subject.covers(size)
  if (open) subject.open += 1
  const tokens = open ? size.prompt : size.most
  return { subject, entry: subject.window.add(now, 1, tokens), tokens, open }
}

function settle({ subject, entry, tokens, open }: Entered, now: number, really: number): void {
  subject.leave()
  if (entry === -1) return
  if (open) subject.open -= 1
  subject.window.correct(now, entry, 0, really - tokens)
}
