import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gatewayFlags } from './server-gateway-setup.ts'
import { inProcess, type Launch } from './server-launch.ts'

const module = join(import.meta.dirname, 'server-launch.fixture.ts')
const cacheFolder = mkdtempSync(join(tmpdir(), 'paddock-launch-'))
after(() => rmSync(cacheFolder, { recursive: true, force: true }))

/** How often the whole heap was looked through while hundreds of megabytes passed through. */
function looks(launch: Launch<unknown>): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = Number.NaN
    launch({
      message: (message) => {
        if (message.kind === 'fatal') said = Number(message.message)
      },
      failed: reject,
      ended: () => resolve(said),
    })
  })
}

test('with the flags of the gateway large bodies do not make the collector look through all of the heap', async () => {
  const usual = await looks(inProcess({ module, cacheFolder }))
  const flagged = await looks(inProcess({ module, cacheFolder, flags: gatewayFlags }))
  assert.ok(flagged * 2 < usual, `${flagged} times, usually ${usual}`)
})
