/** The end of the server's log for a person: sentences instead of JSON, without keys. Pure. */
import { harmless, oneLine } from '../width.ts'

const uninteresting = new Set(['level', 'time', 'role', 'msg', 'pid', 'hostname'])

export function readableLog(text: string, lines: number): string[] {
  const all = text.split('\n').filter((line) => line.trim() !== '')
  return all.slice(-lines).map((line) => withoutKeys(readable(line)))
}

export function withoutKeys(text: string): string {
  return text.replace(/\bsk_[A-Za-z0-9_-]{8,}/g, 'sk_…')
}

function readable(line: string): string {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return harmless(line)
  }
  if (entry === null || typeof entry !== 'object' || typeof entry.msg !== 'string') return harmless(line)
  const fields = Object.entries(entry)
    .filter(([name]) => !uninteresting.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  const role = typeof entry.role === 'string' ? `${entry.role}: ` : ''
  return oneLine(`${role}${entry.msg}${fields.length > 0 ? `  ${fields.join(' ')}` : ''}`)
}
