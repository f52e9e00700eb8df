import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { newId } from '../../runtime/ids.ts'
import { isAlive } from '../../runtime/processes.ts'
import { Claims } from './claims.ts'
import { noKeeper } from './run-folder.ts'
import type { MarkedProcess } from './strays.ts'
import { type Life, straysAmong } from './sweep.ts'
import { TestFleet } from './testing/fleet.ts'

const fleets: TestFleet[] = []
function fleetOf(...options: ConstructorParameters<typeof TestFleet>): TestFleet {
  const fleet = new TestFleet(...options)
  fleets.push(fleet)
  return fleet
}
after(async () => {
  for (const fleet of fleets) await fleet.dispose()
})

test('which processes are strays', () => {
  const keeper: MarkedProcess = { identity: { pid: 7, start: 's' }, role: 'keeper', replicaId: 'rep_a', marker: 'm' }
  const engine: MarkedProcess = { ...keeper, identity: { pid: 8, start: 's' }, role: 'engine' }
  const record = { ...noKeeper, pid: 7, start: 's' }
  const strays = (life: Life) => straysAmong([keeper, engine], () => life).map((p) => p.role)
  assert.deepEqual(strays({ marker: 'm', keeper: record, kept: true }), [])
  assert.deepEqual(strays({ marker: null, keeper: null, kept: false }), ['keeper', 'engine'], 'no folder')
  assert.deepEqual(strays({ marker: 'other', keeper: record, kept: true }), ['keeper', 'engine'], 'another life')
  assert.deepEqual(strays({ marker: 'm', keeper: record, kept: false }), ['engine'], 'the keeper died meanwhile')
  assert.deepEqual(strays({ marker: 'm', keeper: null, kept: false }), ['engine'], 'about to claim: left alone')
  assert.deepEqual(strays({ marker: 'm', keeper: { ...record, start: 't' }, kept: true }), ['keeper'], 'came second')
  assert.deepEqual(strays({ marker: 'm', keeper: noKeeper, kept: false }), ['keeper', 'engine'], 'being removed')
})

test('a house in order is left as it is', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  assert.deepEqual(await fleet.local.sweep(), { endedProcesses: [], removedFolders: [], removedWeights: [] })
  assert.ok(isAlive(running.engine) && isAlive(running.keeper))
})

test('an engine whose folder went away is ended, and its account is free again', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering(['--ignore-stdin', '--ignore-term'])
  renameSync(fleet.run(running.id).path, join(fleet.base, 'elsewhere'))
  await fleet.until('all is swept', async () => {
    await fleet.local.sweep()
    return !isAlive(running.engine) && !isAlive(running.keeper)
  })
  await fleet.local.sweep()
  const claims = join(fleet.base, 'system', 'claims')
  assert.deepEqual(existsSync(claims) ? readdirSync(claims) : [], [])
})

test('what a crash left half made or half removed goes; what is young may still become something', async () => {
  const fleet = fleetOf({ halfMadeSeconds: 0 })
  const patient = fleetOf({ folder: fleet.options.folder, systemFolder: fleet.options.systemFolder })
  const half = newId('rep')
  mkdirSync(fleet.run(half).path, { recursive: true })
  mkdirSync(join(fleet.options.folder, '.removed-rep_x-1'))
  writeFileSync(join(fleet.options.folder, '.removed-rep_x-1', 'log'), '')
  assert.deepEqual((await patient.local.sweep()).removedFolders, ['.removed-rep_x-1'])
  assert.equal((await fleet.local.observe(half)).state, 'pending')
  await fleet.until('a moment has passed', async () => (await fleet.local.sweep()).removedFolders.includes(half))
  assert.equal((await fleet.local.observe(half)).state, 'not_found')
})

test('claims: one holder each, the same again for the same holder, all or nothing', () => {
  const fleet = fleetOf()
  const claims = new Claims(join(fleet.base, 'claims'))
  const [a, b] = ['a', 'b'].map((name) => join(fleet.base, name)) as [string, string]
  mkdirSync(a)
  mkdirSync(b)
  const names = ['uid-1', 'uid-2', 'uid-3']
  assert.deepEqual(claims.take(names, 2, a), ['uid-1', 'uid-2'])
  assert.deepEqual(claims.take(names, 2, a), ['uid-1', 'uid-2'])
  assert.equal(claims.take(names, 2, b), null)
  assert.deepEqual(claims.take(names, 1, b), ['uid-3'], 'the failed attempt kept nothing')
  renameSync(a, `${a}-gone`)
  assert.deepEqual(
    claims.stale().map((claim) => claim.name),
    ['uid-1', 'uid-2'],
  )
  for (const claim of claims.stale()) assert.ok(claims.drop(claim))
  assert.deepEqual(claims.take(names, 3, b)?.sort(), names)
  claims.release(b)
  assert.deepEqual(claims.all(), [])
  assert.equal(claims.drop({ name: 'uid-1', folder: a }), false)
})

test('a stale claim that became somebody’s between the look and the removal stays theirs', () => {
  const fleet = fleetOf()
  const claims = new Claims(join(fleet.base, 'claims'))
  mkdirSync(join(fleet.base, 'new'))
  claims.take(['uid-1'], 1, join(fleet.base, 'new'))
  assert.equal(claims.drop({ name: 'uid-1', folder: join(fleet.base, 'old') }), false)
  assert.deepEqual(claims.all(), [{ name: 'uid-1', folder: join(fleet.base, 'new') }])
})
