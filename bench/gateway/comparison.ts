/** One row per figure, one column per front, as Markdown. */
export type Rows = { name: string; unit: string; values: ReadonlyMap<string, number> }[]

export function comparison(rows: Rows, fronts: readonly string[]): string {
  const lines = [`| | ${fronts.join(' | ')} |`, `|---|${fronts.map(() => '--:|').join('')}`]
  for (const { name, unit, values } of rows) {
    const cells = fronts.map((front) => cell(values.get(front)))
    lines.push(`| ${name}${unit === '' ? '' : `, ${unit}`} | ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

function cell(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '—'
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}
