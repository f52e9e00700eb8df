/** What benches hand in, and how it is shown. */

/** What a bench measured. `value` null = it could not be measured here, and `why` says why. */
export interface Measured {
  name: string
  value: number | null
  unit: string
  /** The bound: at most this, or at least this with `more: true`. Absent = a number without a bound. */
  target?: number
  /** More is better. */
  more?: boolean
  why?: string
}

/** A file `bench/<name>.ts` exports one as `bench`. */
export interface Bench {
  name: string
  /** One line for the list. */
  about: string
  /** What of it can be run by itself, by `--only`; absent = nothing. */
  parts?: readonly string[]
  /** Measures and reports; what it throws becomes a figure that could not be measured. */
  run(report: (measured: Measured) => void, options: BenchOptions): Promise<void> | void
}

export interface BenchOptions {
  /** Smaller and shorter, where the bench has such a form: to see that it works. */
  quick: boolean
  /** Names of `parts`; empty = all of them. */
  only: readonly string[]
  /** Folder of traces of real traffic, for the benches that can replay them; null = none was named. */
  traces: string | null
  /** Text for people, below the figures. */
  show(text: string): void
}

export function isWanted(only: readonly string[], part: string): boolean {
  return only.length === 0 || only.includes(part)
}

/** One line of the result, as `--json` gives it. */
export interface Figure {
  name: string
  value: number | null
  unit: string
  target: number | null
  ok: boolean
  why?: string
}

/** Judges a measurement. A value that is no number was not measured. */
export function figureOf({ name, value, unit, target, more, why }: Measured): Figure {
  const figure = { name, unit, target: target ?? null }
  if (value === null || !Number.isFinite(value))
    return { ...figure, value: null, ok: false, why: why ?? `measured ${value}` }
  const ok = target === undefined || (more ? value >= target : value <= target)
  return { ...figure, value, ok, ...(why === undefined ? {} : { why }) }
}

/** The figures as a table for people. */
export function figureTable(figures: Figure[]): string {
  const rows = figures.map((figure) => [
    figure.ok ? 'ok' : figure.value === null ? 'not measured' : 'missed',
    figure.name,
    figure.value === null ? '—' : `${Number(figure.value.toPrecision(4))} ${figure.unit}`,
    figure.target === null ? '' : `target ${figure.target} ${figure.unit}`,
    figure.why ?? '',
  ])
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)))
  const line = (row: string[]) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}
