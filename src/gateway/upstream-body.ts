/**
 * The body an engine gets: the client's bytes with `model` and the usage fields changed. Splicing keeps every other
 * byte (numbers with all digits, unknown fields, order) and costs a fraction of parse and stringify.
 */
import type { UsageDialect } from '../engines/contract.ts'
import { byteText, hasDuplicates, withMembers } from './json-members.ts'
import type { Ask } from './parse.ts'

/**
 * Small bodies as text, one character per byte, which leaves with the head in one piece; large ones as bytes. `dialect`
 * null: the route has no fields by which usage is asked for. `more`: further members.
 */
export function upstreamBody(
  ask: Ask,
  servedName: string,
  dialect: UsageDialect | null,
  more: Readonly<Record<string, unknown>> | null = null,
): string | Buffer {
  const asks = (ask.stream && dialect !== null) || more !== null
  if (!asks && ask.model === servedName && !hasDuplicates(ask.members))
    return ask.shortened === null ? ask.text : ask.bytes
  if (!asks && !hasDuplicates(ask.members)) {
    const model = ask.members.find((member) => member.key === 'model')
    if (model !== undefined) {
      const { text } = ask
      return whole(ask, text.slice(0, model.valueStart) + byteText(servedName) + text.slice(model.valueEnd))
    }
  }
  const changes = new Map<string, string>([['model', byteText(servedName)]])
  if (more !== null) for (const [field, value] of Object.entries(more)) changes.set(field, byteText(value))
  if (ask.stream && dialect !== null) {
    if (Object.keys(dialect.streamOptions).length > 0) {
      const own = ask.fields.stream_options as Record<string, unknown> | null | undefined
      changes.set('stream_options', byteText({ ...own, ...dialect.streamOptions }))
    }
    for (const [field, value] of Object.entries(dialect.extraBody)) changes.set(field, byteText(value))
  }
  return whole(ask, withMembers(ask.text, ask.members, changes))
}

function whole({ shortened }: Ask, text: string): string | Buffer {
  return shortened === null ? text : shortened.restored(text)
}
