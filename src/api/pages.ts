/** The few pages that control itself renders: plain HTML, no script of their own, nothing from elsewhere. */
import { html } from 'hono/html'
import { chargeTable, isCharged } from '../kernel/charge.ts'
import { faultTable } from '../kernel/fault-table.ts'
import { reasonTable } from '../kernel/phase.ts'

type Markup = ReturnType<typeof html>

/** For every page: what a page may load, and that it may not be framed. */
export const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cache-control': 'no-cache',
}

export const stylesheet = `:root { color-scheme: light dark; --line: #8884; --soft: #8882; --link: #0b62c4 }
@media (prefers-color-scheme: dark) { :root { --link: #7ab7ff } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1.25rem }
h1 { font-size: 1.7rem; margin-bottom: .25rem } h2 { font-size: 1.2rem; margin-top: 2rem }
a { color: var(--link) } code, pre { font: .9em/1.5 ui-monospace, monospace; background: var(--soft); border-radius: 4px }
code { padding: .1em .3em } pre { padding: .9rem 1rem; overflow-x: auto } pre code { padding: 0; background: none }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem; border-bottom: 1px solid var(--line) }
nav { margin: 1rem 0; display: flex; gap: 1.25rem; flex-wrap: wrap }
`

function page(title: string, content: Markup): Markup {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<nav><a href="/">Paddock</a><a href="/docs">Documentation</a><a href="/docs/api">API reference</a><a href="/docs/errors">Errors</a></nav>
${content}
</body>
</html>
`
}

export function landingPage(about: { version: string; publicUrl: string }): Markup {
  return page(
    'Paddock',
    html`<h1>Paddock</h1>
<p>Dedicated LLM inference endpoints on your own hardware, speaking the OpenAI protocol. Version ${about.version}.</p>
<table>
<tr><th>Native API</th><td><code>${about.publicUrl}/api/v1/public</code></td></tr>
<tr><th>OpenAI API</th><td><code>${about.publicUrl}/v1</code></td></tr>
<tr><th>Reference</th><td><a href="/docs/api">/docs/api</a>, as a file: <a href="/openapi.json">/openapi.json</a></td></tr>
<tr><th>Is it well?</th><td><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a></td></tr>
</table>
<h2>A first deployment</h2>
<pre><code>npx paddock deploy my-first --model paddock/starter --gpu cpu --wait
npx paddock chat my-first "Hello"</code></pre>`,
  )
}

export function docsPage(publicUrl: string): Markup {
  return page(
    'Paddock documentation',
    html`<h1>Documentation</h1>
<ul>
<li><a href="/docs/api">API reference</a>: every route with its fields, to read and to try.</li>
<li><a href="/openapi.json">openapi.json</a>: the same for programs (OpenAPI 3.1).</li>
<li><a href="/docs/errors">Errors</a>: every code with its status, and what to do.</li>
</ul>
<h2>Create a deployment</h2>
<pre><code>curl ${publicUrl}/api/v1/public/deployments \\
  -H "Authorization: Bearer $PADDOCK_API_KEY" -H "Content-Type: application/json" \\
  -d '{"name": "my-first", "model_id": "paddock/starter", "gpu_type": "cpu"}'</code></pre>
<h2>Ask it something</h2>
<pre><code>curl ${publicUrl}/v1/chat/completions \\
  -H "Authorization: Bearer $PADDOCK_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "my-first", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'</code></pre>`,
  )
}

export function errorsPage(): Markup {
  const rows = Object.entries(faultTable).map(
    ([code, { status, action, operator }]) => html`
<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${isCharged(status) ? 'yes' : 'no'}</td><td>${action}</td><td>${operator}</td></tr>`,
  )
  const reasons = Object.entries(reasonTable).map(
    ([code, { phases, message, action }]) => html`
<tr id="reason-${code}"><td><code>${code}</code></td><td>${phases.join(', ')}</td><td>${message}</td><td>${action}</td></tr>`,
  )
  const charges = Object.entries(chargeTable).map(
    ([status, { when, charged }]) => html`
<tr id="status-${status}"><td>${status}</td><td>${when}</td><td>${charged ? 'yes' : 'no'}</td></tr>`,
  )
  return page(
    'Paddock errors',
    html`<h1>Errors</h1>
<p>The native API answers <code>{"error": {"code", "message", "action", "detail", "request_id"}}</code>; inference routes
answer OpenAI’s error object with the same <code>code</code>. “Charged” is about per-token billing of inference.</p>
<table>
<thead><tr><th>Code</th><th>Status</th><th>Charged</th><th>What to do</th><th>For the operator</th></tr></thead>
<tbody>${rows}
</tbody>
</table>
<h2 id="charged">What is charged</h2>
<p>The ledger keeps what a request ended as; an answer that began with 200 may end as 499 or 500.</p>
<table>
<thead><tr><th>Status</th><th>When</th><th>Charged per token</th></tr></thead>
<tbody>${charges}
</tbody>
</table>
<h2 id="reasons">Reasons</h2>
<p>A deployment that is not simply serving says why: <code>"reason": {"code", "message", "since", "retry_after"}</code>,
with <code>retry_after</code> in seconds where it passes by itself.</p>
<table>
<thead><tr><th>Code</th><th>Phases</th><th>What it says</th><th>What to do</th></tr></thead>
<tbody>${reasons}
</tbody>
</table>`,
  )
}
