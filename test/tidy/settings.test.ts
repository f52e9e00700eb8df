/** docs/operate/settings.md says what runtime/settings.ts says. `UPDATE=1` writes it anew. */
import { strict as assert } from 'node:assert'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { environmentName } from '../../src/runtime/config.ts'
import { type SettingName, settings } from '../../src/runtime/settings.ts'

const path = join(import.meta.dirname, '..', '..', 'docs', 'operate', 'settings.md')

function page(): string {
  const rows = (Object.keys(settings) as SettingName[]).map((name) => {
    const value = name === 'data' ? '~/.paddock' : settings[name].default
    const shown = value === '' ? '' : `\`${JSON.stringify(value).replace(/^"(.*)"$/, '$1')}\``
    return `| \`${name}\` | \`${environmentName(name)}\` | ${shown} | ${settings[name].about} |`
  })
  return `# Settings

Generated from \`src/runtime/settings.ts\`; a test compares them.

A setting comes from a flag of \`paddock serve\`, else from the environment, else from the file named by \`--config\` (YAML
or JSON, \`a.b_c\` flat or nested), else it is the default. In the environment a list is separated by commas, and a map is JSON. \`DATABASE_URL\` counts as
\`PADDOCK_DATABASE_URL\`. All problems are reported together before anything starts.

| setting | environment | default | meaning |
|---|---|---|---|
${rows.join('\n')}
`
}

test('docs/operate/settings.md is what the list of settings says', () => {
  if (process.env.UPDATE === '1') writeFileSync(path, page())
  assert.equal(
    readFileSync(path, 'utf8'),
    page(),
    'run `UPDATE=1 npm test -- test/tidy/settings.test.ts` and commit the page',
  )
})
