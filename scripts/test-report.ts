/** What `npm test` prints. Pure. */
import type { FileResult } from './test-file.ts'

const outputLinesShown = 40

/** One line for a file, and below it its failures in full. */
export function fileLine(result: FileResult): string {
  const counts = [`${result.passed} passed`]
  if (result.failures.length > 0) counts.push(`${result.failures.length} failed`)
  if (result.skipped.length > 0) counts.push(`${result.skipped.length} skipped`)
  const failed = result.failures.length > 0
  const line = `  ${failed ? 'FAIL' : 'ok  '}  ${result.file}  ${counts.join(', ')}  ${result.seconds.toFixed(1)} s`
  return failed
    ? [line, ...result.failures.map(failureText), outputText(result.output)].filter(Boolean).join('\n')
    : line
}

function failureText({ name, why }: { name: string; why: string }): string {
  return `\n    ✗ ${name}\n${indent(why)}\n`
}

function outputText(output: string): string {
  const lines = output.trimEnd().split('\n')
  if (lines.length === 1 && lines[0] === '') return ''
  const shown = lines.slice(-outputLinesShown)
  const left = lines.length - shown.length
  return `    It wrote${left > 0 ? ` (${left} earlier lines left out)` : ''}:\n${indent(shown.join('\n'))}\n`
}

function indent(text: string): string {
  return text.replace(/^/gm, '      ')
}

/** Adds files up. */
export class Tally {
  passed = 0
  failed = 0
  readonly #skipped: string[] = []
  readonly #failures: string[] = []
  readonly #later: string[] = []
  readonly #began = performance.now()

  add(result: FileResult): void {
    this.passed += result.passed
    this.failed += result.failures.length
    this.#failures.push(...result.failures.map(({ name }) => `  ${result.file}: ${name}`))
    this.#skipped.push(...result.skipped.map(({ name, reason }) => `  ${result.file}: ${name}: ${reason}`))
  }

  /** The first try of a file that passed when it was run again: no failure, but somebody should know. */
  passedLater(first: FileResult): void {
    this.#later.push(...first.failures.map(({ name }) => `  ${first.file}: ${name}`))
  }

  /** True when something ran and nothing failed. */
  get ok(): boolean {
    return this.failed === 0 && this.passed > 0
  }

  /** Time, failures by name, skipped tests with reasons, and as the last line the count. */
  summary(interrupted: boolean): string {
    const lines = [
      `\n${interrupted ? 'Interrupted after' : 'Took'} ${((performance.now() - this.#began) / 1000).toFixed(1)} s.`,
    ]
    if (this.#failures.length > 0) lines.push('Failed:', ...this.#failures)
    if (this.#later.length > 0) lines.push('Failed at first, passed when run again (look into them):', ...this.#later)
    if (this.#skipped.length > 0) lines.push('Skipped:', ...this.#skipped)
    if (this.passed + this.failed === 0) lines.push('No test ran.')
    const skipped = this.#skipped.length > 0 ? `, ${this.#skipped.length} skipped` : ''
    lines.push(`${this.passed} passed, ${this.failed} failed${skipped}`)
    return `${lines.join('\n')}\n`
  }
}
