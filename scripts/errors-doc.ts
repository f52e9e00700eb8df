/** Writes `docs/errors.md` from the one table of faults and the one of reasons. Pure. */
import type { FaultMeaning } from '../src/kernel/fault-table.ts'
import type { ReasonMeaning } from '../src/kernel/phase.ts'

const head = `# Errors

Every error carries a \`code\`, a \`message\` that says what was wrong, and an \`action\` that says what to do. Native routes
answer \`{"error": {"code", "message", "action", "detail"?, "request_id"}}\`; inference routes answer OpenAI's error object
with the same \`code\`. "Charged" says whether a request that ends so is charged per token. What a deployment says while
it is not serving, its reason, is at the end.

This page is written from \`src/kernel/fault-table.ts\` and \`src/kernel/phase.ts\`; a test compares them
(\`UPDATE=1 npm test -- test/tidy/errors\` writes it anew).
`

const reasonsHead = `## Reasons

A deployment that is not simply serving carries \`"reason": {"code", "message", "since", "retry_after"?}\`, and so does a
request that could not be answered meanwhile. \`retry_after\` is in seconds; without one it stays until somebody acts or
asks.

| code | phases | what it says | what the owner does | usual wait |
|---|---|---|---|---|
`

/** The page for these tables, ordered as they are: one section per status, then the reasons. */
export function errorsDocument(
  table: Readonly<Record<string, FaultMeaning>>,
  reasons: Readonly<Record<string, ReasonMeaning>>,
): string {
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
  return [head, ...sections, reasonsSection(reasons)].join('\n')
}

function reasonsSection(reasons: Readonly<Record<string, ReasonMeaning>>): string {
  const rows = Object.entries(reasons).map(([code, { phases, message, action, retryAfterSeconds }]) => {
    const wait = retryAfterSeconds === null ? '—' : `${retryAfterSeconds} s`
    return `| \`${code}\` | ${phases.join(', ')} | ${message} | ${action} | ${wait} |`
  })
  return `${reasonsHead}${rows.join('\n')}\n`
}
