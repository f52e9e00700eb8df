/** Writes `docs/errors.md` from the tables of faults, of what is charged, and of reasons. Pure. */
import { type Charge, isCharged } from '../src/kernel/charge.ts'
import type { FaultMeaning } from '../src/kernel/fault-table.ts'
import type { ReasonMeaning } from '../src/kernel/phase.ts'

const head = `# Errors

Every error carries a \`code\`, a \`message\` that says what was wrong, and an \`action\` that says what to do. Native routes
answer \`{"error": {"code", "message", "action", "detail"?, "request_id"}}\`; inference routes answer OpenAI's error object
with the same \`code\`. "Charged" says whether a request that ends so is charged per token. At the end: what is charged, and
the reasons of a deployment that is not serving.

This page is written from \`src/kernel/fault-table.ts\`, \`src/kernel/charge.ts\` and \`src/kernel/phase.ts\`; a test compares
them (\`UPDATE=1 npm test -- test/tidy/errors\` writes it anew).
`

const chargesHead = `## What is charged

The ledger keeps what a request ended as, which is not always what was on the wire: an answer that began with 200 may
end as 499 or 500. Tokens that had to be estimated are flagged.

| on the ledger | when | charged per token |
|---|---|---|
`

const reasonsHead = `## Reasons

A deployment that is not simply serving carries \`"reason": {"code", "message", "since", "retry_after"?}\`, and so does a
request that could not be answered meanwhile. \`retry_after\` is in seconds; without one it stays until somebody acts or
asks.

| code | phases | what it says | what the owner does | usual wait |
|---|---|---|---|---|
`

/** The page for these tables, ordered as they are: one section per status, then what is charged, then the reasons. */
export function errorsDocument(
  table: Readonly<Record<string, FaultMeaning>>,
  charges: Readonly<Record<number, Charge>>,
  reasons: Readonly<Record<string, ReasonMeaning>>,
): string {
  const statuses = [...new Set(Object.values(table).map(({ status }) => status))].sort((a, b) => a - b)
  const sections = statuses.map((status) => {
    const rows = Object.entries(table)
      .filter(([, meaning]) => meaning.status === status)
      .map(
        ([code, meaning]) =>
          `| \`${code}\` | ${meaning.action || '—'} | ${meaning.operator || '—'} | ${yesOrNo(isCharged(meaning.status))} |`,
      )
    return `## ${status}\n\n| code | what the caller does | what the operator looks at | charged |\n|---|---|---|---|\n${rows.join('\n')}\n`
  })
  return [head, ...sections, chargesSection(charges), reasonsSection(reasons)].join('\n')
}

function chargesSection(charges: Readonly<Record<number, Charge>>): string {
  const rows = Object.entries(charges).map(
    ([status, { when, charged }]) => `| ${status} | ${when} | ${yesOrNo(charged)} |`,
  )
  return `${chargesHead}${rows.join('\n')}\n`
}

function yesOrNo(value: boolean): string {
  return value ? 'yes' : 'no'
}

function reasonsSection(reasons: Readonly<Record<string, ReasonMeaning>>): string {
  const rows = Object.entries(reasons).map(([code, { phases, message, action, retryAfterSeconds }]) => {
    const wait = retryAfterSeconds === null ? '—' : `${retryAfterSeconds} s`
    return `| \`${code}\` | ${phases.join(', ')} | ${message} | ${action} | ${wait} |`
  })
  return `${reasonsHead}${rows.join('\n')}\n`
}
