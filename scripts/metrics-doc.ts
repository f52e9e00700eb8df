/** Writes `docs/operate/metrics.md` from the schema of the route and the list of families. Pure. */
import type { Family } from '../src/usage/metrics/families.ts'

/** A field of the route's answer as the reference shows it. */
export interface Field {
  name: string
  description: string
}

export interface Shown extends Pick<Family, 'type' | 'unit' | 'labels' | 'help'> {
  name: string
}

const head = `# Metrics

Two ways to look: \`GET /api/v1/public/deployments/{id}/metrics\` for one deployment (\`paddock top\` shows it), and
\`GET /metrics\` for Prometheus, everything at once, with the operator's key.

This page is written from \`src/wire/native/metrics.ts\` and \`src/usage/metrics/families.ts\`; a test compares them
(\`UPDATE=1 npm test -- test/tidy/metrics\` writes it anew).

## How it is measured

- Every gateway counts each inference request once, when it is settled, with the status of the ledger: an answer that
  began with 200 may end as 499 (the client left) or 500 (the engine died). Requests under way are in no count but
  \`in_flight\`, \`held\` and \`queued\`.
- Every two seconds a gateway writes what is new; nobody waits for it. While the database is away it goes on counting in
  memory, in as much room as there are deployments that are asked, and writes it afterwards. What was counted then counts
  in windows that are longer than the outage, and in the counters of Prometheus.
- A gateway that is killed takes up to two seconds of figures with it. The ledger loses nothing: bills and usage are never
  made from these figures.
- Times are kept in histograms whose quantiles are right within 1 % from 10 µs to a week, and which add up over
  gateways and moments without loss.
- Samples are kept for an hour, as they came for six minutes and by the minute after that. A crash of the database (not
  a clean stop) empties them.
- A client that reads slowly slows its engine down; that shows in \`inter_token_ms\` and \`longest_pause_ms\`.

## One deployment, right now

\`?window=\` is \`60s\` (default), \`5m\` or \`1h\`. Needs \`deployment:read\`. Counts and rates are null when no gateway is heard
of; averages and quantiles are null when nothing was measured, never 0. Fields that end in \`_ms\` are
\`{"count": 120, "p50": 41.2, "p90": 77.9, "p99": 130.4}\`: milliseconds, over \`count\` requests.

| field | meaning |
|---|---|
`

const between = `
## Prometheus

\`\`\`yaml
scrape_configs:
  - job_name: paddock
    authorization: { credentials_file: /path/to/operator-key }
    static_configs: [{ targets: ['127.0.0.1:8080'] }]
\`\`\`

Names, attributes and buckets of \`gen_ai_*\` are those of OpenTelemetry's conventions for generative AI. Counters begin at
nothing with every start of control, as counters may; a restart of a gateway does not touch them. Values come from the
database: while it is away there are none, which Prometheus shows as a gap.

Labels are bounded: by deployment, operation, status and code, never by key or by anything a request says. At most 1,000
deployments have a name of their own; the others together are \`deployment="other"\`. Deleted deployments leave.
\`gen_ai_request_model\` is the model that the deployment has now, 128 characters of it at most: one per deployment, so it
makes no series more. \`deployment=""\`: requests that ended before theirs was known.

| name | type | unit | labels | meaning |
|---|---|---|---|---|
`

const tail = `
Beside these, \`process_*\` and \`nodejs_*\` describe control's process, as prom-client names them.

Useful questions:

| question | PromQL |
|---|---|
| requests a second by status | \`sum by (deployment, status) (rate(paddock_requests_total[1m]))\` |
| share of errors that are ours | \`sum(rate(paddock_requests_total{status=~"5.."}[5m])) / sum(rate(paddock_requests_total[5m]))\` |
| p90 of the time to first token | \`histogram_quantile(0.9, sum by (deployment, le) (rate(gen_ai_server_time_to_first_token_seconds_bucket[5m])))\` |
| share of the prompt that came from caches | \`sum(rate(paddock_tokens_total{kind="cached"}[5m])) / sum(rate(paddock_tokens_total{kind="cacheable"}[5m]))\` |

## Headers of every answer

| header | meaning |
|---|---|
| \`x-request-id\` | the client's own when it sent a usable one, else ours |
| \`x-paddock-replica\` | the replica that was asked; absent when none was, and from a stream that began while it was held |
| \`server-timing\` | in ms: \`auth\` finding the key; \`queue\` waiting for its turn under limits and for a replica; \`route\` reading the body's meaning and finding the deployment; \`ttft\` arrival to the first of the engine's answer, absent while there is none. A stream says it when its head is sent, which is before its first token |
`

export function metricsDocument(fields: readonly Field[], shown: readonly Shown[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  const route = fields.map(({ name, description }) => `| \`${name}\` | ${cell(description)} |\n`)
  const names = shown.map(({ name, type, unit, labels, help }) => {
    const list = labels.map((label) => `\`${label}\``).join(' ')
    return `| \`${name}\` | ${type} | ${unit} | ${list} | ${cell(help)} |\n`
  })
  return head + route.join('') + between + names.join('') + tail
}
