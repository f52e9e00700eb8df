/** Writes `docs/events.md` from the catalogue of events. Pure. */
import { z } from 'zod'
import type { EventMeaning } from '../src/events/catalogue.ts'

const head = `# Events

What happened: one log that is only ever appended to, each event written in the transaction of what it tells. \`GET
…/events\` lists those of a deployment, newest first, by type and time. Every event has \`id\`, \`type\`, \`at\` and \`data\`;
the fields of \`data\` by type are below (\`?\`: may be absent).

This page is written from \`src/events/catalogue.ts\`; a test compares them
(\`UPDATE=1 npm test -- test/tidy/events\` writes it anew).

| type | what has happened | data |
|---|---|---|
`

interface Shown {
  type?: string | string[]
  properties?: Record<string, Shown>
  required?: string[]
  items?: Shown
  anyOf?: Shown[]
  additionalProperties?: Shown | boolean
}

/** The page for this catalogue, in its order. */
export function eventsDocument(catalogue: Readonly<Record<string, EventMeaning>>): string {
  const rows = Object.entries(catalogue).map(([type, { tells, data }]) => {
    const { properties = {}, required = [] } = z.toJSONSchema(data) as Shown
    const fields = Object.entries(properties).map(
      ([name, shown]) => `\`${name}\`${required.includes(name) ? '' : '?'} ${typeText(shown)}`,
    )
    return `| \`${type}\` | ${tells} | ${fields.join(', ')} |`
  })
  return `${head}${rows.join('\n')}\n`
}

function typeText(shown: Shown): string {
  if (shown.anyOf) return shown.anyOf.map(typeText).join(' or ')
  if (shown.type === 'array') return `list of ${typeText(shown.items ?? {})}s`
  if (shown.type !== 'object') return [shown.type ?? 'value'].flat().join(' or ')
  const values = typeof shown.additionalProperties === 'object' ? ` of ${typeText(shown.additionalProperties)}s` : ''
  const inner = Object.entries(shown.properties ?? {}).map(([name, one]) => `\`${name}\` ${typeText(one)}`)
  return inner.length > 0 ? `{${inner.join(', ')}}` : `map${values}`
}
