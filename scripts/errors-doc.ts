/** Writes `docs/errors.md` from the one table of faults. Pure. */
import type { FaultMeaning } from '../src/kernel/fault-table.ts'

const head = `# Errors

Every error carries a \`code\`, a \`message\` that says what was wrong, and an \`action\` that says what to do. Native routes
answer \`{"error": {"code", "message", "action", "detail"?, "request_id"}}\`; inference routes answer OpenAI's error object
with the same \`code\`. "Charged" says whether a request that ends so is charged per token.

This page is written from \`src/kernel/fault-table.ts\`; a test compares them (\`UPDATE=1 npm test -- test/tidy/errors\`
writes it anew).
`

/** The page for this table of faults, ordered as the table is, one section per status. */
export function errorsDocument(table: Readonly<Record<string, FaultMeaning>>): string {
  const statuses = [...new Set(Object.values(table).map(({ status }) => status))].sort((a, b) => a - b)
  const sections = statuses.map((status) => {
    const rows = Object.entries(table)
      .filter(([, meaning]) => meaning.status === status)
      .map(
        ([code, meaning]) =>
          `| \`${code}\` | ${meaning.action || '—'} | ${meaning.operator || '—'} | ${meaning.charged ? 'yes' : 'no'} |`,
      )
    return `## ${status}\n\n| code | what the caller does | what the operator looks at | charged |\n|---|---|---|---|\n${rows.join('\n')}\n`
  })
  return [head, ...sections].join('\n')
}
