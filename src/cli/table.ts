/** Plain tables: a header, aligned columns, two spaces between. On a terminal a row never wraps. Pure. */
import { columnsOf, cut, harmless, oneLine } from './width.ts'

export interface Column<Row> {
  title: string
  cell(row: Row): string
  /** Numbers stand right. */
  right?: boolean
  /** May be cut on a narrow terminal, down to this many columns. */
  shrinksTo?: number
  /** Colours the finished cell. */
  paint?(text: string, row: Row): string
}

const gap = 2

/** Lines of the table, header first. `width`: columns of the terminal; null = never cut. */
export function tableLines<Row>(columns: Column<Row>[], rows: readonly Row[], width: number | null): string[] {
  const cells = rows.map((row) => columns.map((column) => oneLine(column.cell(row))))
  const widths = columns.map((column, i) =>
    Math.max(columnsOf(column.title), ...cells.map((row) => columnsOf(row[i]!))),
  )
  if (width !== null) shrink(columns, widths, width)
  const header = line(
    columns,
    widths,
    columns.map((column) => column.title),
    (text) => text,
  )
  const body = cells.map((row, r) =>
    line(columns, widths, row, (text, i) => columns[i]!.paint?.(text, rows[r]!) ?? text),
  )
  return [header, ...body].map((text) => (width === null ? text : fit(text, width)))
}

/** Takes from the widest column that may shrink until the row fits or nothing can shrink. */
function shrink<Row>(columns: Column<Row>[], widths: number[], width: number): void {
  let over = widths.reduce((sum, w) => sum + w, 0) + gap * (columns.length - 1) - width
  while (over > 0) {
    let widest = -1
    for (let i = 0; i < columns.length; i += 1) {
      const least = columns[i]!.shrinksTo
      if (least === undefined || widths[i]! <= least) continue
      if (widest === -1 || widths[i]! > widths[widest]!) widest = i
    }
    if (widest === -1) return
    widths[widest]! -= 1
    over -= 1
  }
}

function line<Row>(
  columns: Column<Row>[],
  widths: number[],
  cells: string[],
  paint: (text: string, index: number) => string,
): string {
  const parts = cells.map((cell, i) => {
    const text = cut(cell, widths[i]!)
    const space = ' '.repeat(Math.max(0, widths[i]! - columnsOf(text)))
    const painted = text === '' ? '' : paint(text, i)
    return columns[i]!.right ? space + painted : painted + space
  })
  return parts.join(' '.repeat(gap)).trimEnd()
}

/** A row that still does not fit is cut at the edge instead of wrapping; its colours go with it. */
function fit(text: string, width: number): string {
  return columnsOf(text) <= width ? text : cut(harmless(text), width)
}
