/** One request that was let in: what it was reckoned at with its deployment and its key, until it is settled. */
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
  readonly first: Entered
  readonly second: Entered | null

  private constructor(first: Entered, second: Entered | null) {
    this.first = first
    this.second = second
  }

  /** Both or none: null when another worker took the last place. Only after both have said yes. */
  static take(first: Subject, second: Subject | null, now: number, size: Estimate): Admission | null {
    if (!first.enter(now)) return null
    if (second !== null && !second.enter(now)) {
      first.leave()
      return null
    }
    return new Admission(count(first, now, size), second === null ? null : count(second, now, size))
  }

  /** Somebody may wait, in whichever line, for its key to have room. */
  get isAwaited(): boolean {
    const key = this.second ?? this.first
    return key.subject.waiting > 0
  }

  /** What it really took; `usage` null = nothing. Once. */
  end(now: number, usage: Usage | null): void {
    const tokens = usage === null ? 0 : usage.promptTokens + usage.completionTokens
    settle(this.first, now, tokens)
    if (this.second !== null) settle(this.second, now, tokens)
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
