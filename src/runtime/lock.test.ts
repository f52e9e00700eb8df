import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { instanceId } from './instance.ts'
import { takeLock } from './lock.ts'
import { modulePath } from './self.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-lock-'))
after(() => rmSync(folder, { recursive: true }))

const inChild = (module: string, program: string) =>
  spawn(
    process.execPath,
    ['--input-type=module', '-e', `import * as m from ${JSON.stringify(modulePath(module))}; ${program}`],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )

it('a lock has one holder, and is free again when that one is killed', async () => {
  const path = join(folder, 'lock')
  const lock = takeLock(path)
  assert.ok(lock)
  assert.equal(takeLock(path), null, 'also in the same process')
  lock.release()
  lock.release()
  const child = inChild(
    'runtime/lock',
    `m.takeLock(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000)`,
  )
  await once(child.stdout!, 'data')
  assert.equal(takeLock(path), null)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const again = takeLock(path)
  assert.ok(again)
  again.release()
  assert.throws(() => takeLock(join(folder, 'no', 'such', 'folder')), /unable to open/)
})

it('a data folder has one instance id, whoever asks first', async () => {
  const children = Array.from({ length: 4 }, () =>
    inChild('runtime/instance', `console.log(m.instanceId(${JSON.stringify(join(folder, 'data'))}))`),
  )
  const ids = await Promise.all(children.map(async (child) => String((await once(child.stdout!, 'data'))[0]).trim()))
  assert.deepEqual([...new Set(ids)], [instanceId(join(folder, 'data'))])
  assert.match(ids[0]!, /^[0-9a-f]{16}$/)
  writeFileSync(join(folder, 'instance.json'), '{"id": "')
  assert.throws(() => instanceId(folder), /instance\.json is damaged/)
})
