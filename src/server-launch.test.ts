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

/** How often the collector looked while a hundred megabytes passed through. */
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

test('with the flags of the gateway the collector looks after every few megabytes that pass through', async () => {
  const asked = await looks(inProcess({ module, cacheFolder, flags: gatewayFlags }))
  assert.ok(asked >= 20 && asked <= 50, `${asked} looks`)
  const unasked = await looks(inProcess({ module, cacheFolder }))
  assert.ok(unasked < 20, `${unasked} looks without them`)
})
