/** The rendered API reference: Swagger UI from its package, started by a script of ours. Nothing comes from elsewhere. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const packageFolder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

/** Scripts and styles from here alone, and nothing inline. */
export const referenceHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cache-control': 'no-cache',
}

export const referencePage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Paddock API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/api/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>This page needs JavaScript. The same reference for programs: <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/api/swagger-ui-bundle.js"></script>
<script src="/docs/api/start.js"></script>
</body>
</html>
`

/** `validatorUrl: null`: the document is not sent to anybody to be judged. */
const startScript = `window.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
})
`

interface Asset {
  content: Buffer
  contentType: string
  etag: string
}

const types: Record<string, string> = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' }
const fromPackage = new Set(['swagger-ui.css', 'swagger-ui-bundle.js'])
const loaded = new Map<string, Promise<Asset>>()

/** A file of the reference page; null when it has none of this name. Read once, kept in memory (1.8 MB in all). */
export function referenceAsset(name: string): Promise<Asset> | null {
  if (name !== 'start.js' && !fromPackage.has(name)) return null
  const known = loaded.get(name)
  if (known) return known
  const asset = load(name)
  loaded.set(name, asset)
  // A file that could not be read once may be readable later.
  asset.catch(() => loaded.delete(name))
  return asset
}

async function load(name: string): Promise<Asset> {
  const content = fromPackage.has(name) ? await readFile(join(packageFolder, name)) : Buffer.from(startScript)
  const etag = `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`
  return { content, contentType: types[name.split('.').at(-1)!]!, etag }
}
