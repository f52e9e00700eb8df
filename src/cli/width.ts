/** How wide text is on a terminal, and text that cannot disturb one. Pure. */

let segmenter: Intl.Segmenter | undefined
/** Made when the first text needs it: that takes as long as a whole command that needs none. */
function graphemesOf(text: string): Iterable<{ segment: string }> {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  return segmenter.segment(text)
}

const wide =
  /^(?:\p{Emoji_Presentation}|\p{Emoji}\uFE0F|\p{Script=Han}|\p{Script=Hangul}|\p{Script=Hiragana}|\p{Script=Katakana}|[\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6])/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const escapes = /\u001B(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001B]*(?:\u0007|\u001B\\)?|[@-Z\\^_])/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controls = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069\uFFF9-\uFFFB]/g

/** Columns that `text` takes; our own colours take none. */
export function columnsOf(text: string): number {
  const plain = text.replace(escapes, '')
  // Plain ASCII is by far the usual case.
  if (/^[\u0020-\u007E]*$/.test(plain)) return plain.length
  let columns = 0
  for (const { segment } of graphemesOf(plain)) columns += graphemeColumns(segment)
  return columns
}

function graphemeColumns(segment: string): number {
  if (/^[\p{Mn}\p{Me}\p{Cf}]+$/u.test(segment)) return 0
  return wide.test(segment) ? 2 : 1
}

/** `text` cut to at most `columns`, with "…" where something was cut. Must hold no colours. */
export function cut(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text
  // Halves of characters are the only other way to cut, and show as boxes.
  let kept = ''
  let used = 0
  for (const { segment } of graphemesOf(text)) {
    const width = graphemeColumns(segment)
    if (used + width > columns - 1) break
    kept += segment
    used += width
  }
  return columns > 0 ? `${kept}…` : ''
}

export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - columnsOf(text)))
}

/** Text from elsewhere without what moves cursors, changes colours or turns the writing direction; keeps \n and \t. */
export function harmless(text: string): string {
  return text.replace(escapes, '').replace(controls, '')
}

/** The same on one line, for table cells and messages. */
export function oneLine(text: string): string {
  return harmless(text.replace(/\s+/g, ' ')).trim()
}
