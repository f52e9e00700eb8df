/** `paddock demo`: does the main job for a person, and leaves nothing behind however it ends. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { reachableBy, runsAsRoot } from '../../src/runtime/isolation.ts'
import { findProgram } from '../../src/runtime/processes.ts'
import { modulePath } from '../../src/runtime/self.ts'
import { Command, type CommandOptions } from './command.ts'
import { isClosed } from './harness.ts'
import { compiledFolder, inNewPlace, type Place } from './place.ts'
import { procOnly } from './processes.ts'

/** Nothing in the folder for temporary files, nothing of the instance where other uids read, no process. */
async function expectNothingLeft(place: Place): Promise<void> {
  await place.expectNoProcess()
  const names = readdirSync(join(place.root, 'tmp')).filter((name) => !name.endsWith('.log'))
  assert.deepEqual(names, [])
  const system = existsSync(place.systemFolder) ? readdirSync(place.systemFolder) : []
  assert.deepEqual(
    system.filter((name) => /^[0-9a-f]{16}$/.test(name)),
    [],
  )
}

/**
 * The system folder is outside, because under root other users must be able to enter it. The first thing that goes wrong
 * is what is reported: what a failed test leaves says nothing.
 */
async function inPlace(options: { mode?: number }, work: (place: Place) => Promise<void>): Promise<void> {
  const systemFolder = mkdtempSync(join(tmpdir(), 'paddock-system-'))
  chmodSync(systemFolder, 0o755)
  try {
    await inNewPlace(work, { ...options, systemFolder })
  } finally {
    rmSync(systemFolder, { recursive: true, force: true, maxRetries: 20 })
  }
}

function demo(place: Place, args: string[], options: CommandOptions = {}): Command {
  return new Command(place, ['demo', '--port', '0', ...args], options)
}

const wholeStory = [
  /emulated/,
  /a tiny one, trained/,
  /^ {2}✓ database +\d+\.\d s/m,
  /^ {2}✓ server +\d+\.\d s {2}http:\/\/127\.0\.0\.1:\d+$/m,
  /^ {2}✓ deployment +\d+\.\d s {2}demo: paddock\/starter on 1 × h100 \(emulated\), \$4\.41\/hour$/m,
  /^ {2}✓ load +\d+\.\d s/m,
  /^ {2}✓ ready +\d+\.\d s/m,
  /you › What is Paddock\?\n {2}demo › Paddock is an open platform for dedicated LLM inference endpoints/,
  /first token (\d+ ms|\d+\.\d s) · \d+ tokens\/s · \d+ tokens · cost so far \$0\.\d+ at \$4\.41\/hour/,
]

test(
  'demo --exit: from a folder that only its owner can enter, on a taken port, it tells the story and leaves nothing',
  { skip: procOnly },
  () =>
    inPlace({ mode: 0o700 }, async (place) => {
      const neighbour = createServer()
      await new Promise<void>((resolve) => neighbour.listen(0, '127.0.0.1', resolve))
      const { port } = neighbour.address() as { port: number }
      const { status, stdout, stderr } = await new Command(place, ['demo', '--exit', '--port', String(port)]).ended
      await new Promise((resolve) => neighbour.close(resolve))
      assert.equal(status, 0, stdout + stderr)
      assert.equal(stderr, '')
      assert.match(stdout, new RegExp(`Port ${port} is taken by another program; using \\d+\\.`))
      for (const line of wholeStory) assert.match(stdout, line)
      assert.match(stdout, /^ {2}✓ torn down +\d+\.\d s {2}billing stopped at \$0\.\d+; \$0\.00\/hour from now on$/m)
      assert.match(stdout, /^ {2}✓ stopped +\d+\.\d s {2}nothing is left running$/m)
      assert.ok(!stdout.includes('{"'), 'no JSON on the screen')
      await expectNothingLeft(place)
      assert.deepEqual(readdirSync(join(place.root, 'tmp')), [])
    }),
)

test('demo stays until Ctrl-C, and its three commands work as printed', { skip: procOnly }, () =>
  inPlace({}, async (place) => {
    const command = demo(place, [])
    await command.says(/Ctrl-C stops everything/)
    for (const line of wholeStory) assert.match(command.stdout, line)
    const key = /Operator key {2}(sk_\S+)/.exec(command.stdout)?.[1]
    assert.ok(key, command.stdout)
    const printed = /Try next[^\n]*\n([\s\S]*?)\n\n/.exec(command.stdout)![1]!
    const lines = printed
      .replaceAll('\\\n', '')
      .split('\n')
      .map((line) => line.trim())
    assert.equal(lines.length, 3)
    for (const line of lines) {
      if (line.startsWith('curl') && findProgram('curl') === null) continue
      const { status, stdout, stderr } = shell(place, line)
      assert.equal(status, 0, `${line}\n${stdout}${stderr}`)
      assert.match(stdout, line.includes(' ls ') ? /^demo +active/m : /\S/)
      if (line.startsWith('curl')) assert.ok((JSON.parse(stdout) as { choices: unknown[] }).choices.length > 0)
    }
    const port = Number(/http:\/\/127\.0\.0\.1:(\d+)\/v1/.exec(command.stdout)![1])
    command.child.kill('SIGINT')
    const { status, stdout, stderr } = await command.ended
    assert.equal(status, 0, stderr)
    assert.match(stdout, /✓ stopped .*nothing is left running; the data stays in/)
    await place.expectNoProcess()
    assert.ok(await isClosed(port))
    assert.ok(existsSync(join(place.root, '.paddock-demo', 'operator-key')))
    await secondTime(place, key)
  }),
)

/** The same folder again: the same key, and the deployment of the last time. */
async function secondTime(place: Place, key: string): Promise<void> {
  const command = demo(place, [])
  await command.says(/Ctrl-C stops everything/)
  assert.ok(command.stdout.includes(key))
  assert.match(command.stdout, /demo: .*there from the last time/)
  command.child.kill('SIGTERM')
  assert.equal((await command.ended).status, 0)
  await place.expectNoProcess()
}

/** A line as pasted; `npx paddock` is this very program. */
function shell(place: Place, line: string) {
  const script = line.replace(/^npx paddock /, '"$0" "$1" ')
  return spawnSync('sh', ['-c', script, process.execPath, modulePath('main')], {
    encoding: 'utf8',
    cwd: place.root,
    env: { PATH: process.env.PATH ?? '', HOME: place.root, NODE_COMPILE_CACHE: compiledFolder },
  })
}

for (const [signal, status, moment] of [
  ['SIGINT', 130, /✓ deployment/],
  ['SIGTERM', 143, /a tiny one, trained/],
] as const)
  test(`${signal} in the middle of demo --exit leaves nothing`, { skip: procOnly }, () =>
    inPlace({}, async (place) => {
      const command = demo(place, ['--exit'])
      await command.says(moment)
      command.child.kill(signal)
      const spoken = await command.ended
      assert.equal(spoken.status, status, spoken.stdout + spoken.stderr)
      await expectNothingLeft(place)
    }),
  )

test('a demo that is killed takes its server and its engines along', { skip: procOnly }, () =>
  inPlace({}, async (place) => {
    const command = demo(place, ['--exit'])
    await command.says(/✓ ready/)
    command.child.kill('SIGKILL')
    await command.ended
    await until(systemClock, 'no process', 60_000, () => place.processes().length === 0)
    removeWhatItKept(place)
  }),
)

/** The killed cannot tidy up, and a log that was named is for the reader. */
function removeWhatItKept(place: Place): void {
  const folder = join(place.root, 'tmp')
  for (const name of readdirSync(folder))
    if (/^paddock-demo-\w+(\.log)?$/.test(name))
      rmSync(join(folder, name), { recursive: true, force: true, maxRetries: 20 })
}

test('when the server dies in the middle the demo says so, with the log, and leaves nothing', { skip: procOnly }, () =>
  inPlace({}, async (place) => {
    const command = demo(place, ['--exit'])
    await command.says(/✓ deployment/)
    // It stands still until the server is gone with all its parts: else a quick demo would be over before.
    command.child.kill('SIGSTOP')
    process.kill(place.process('supervisor').pid, 'SIGKILL')
    await until(systemClock, 'the parts are gone', 60_000, () => place.processes('control', 'gateway').length === 0)
    command.child.kill('SIGCONT')
    const { status, stderr } = await command.ended
    assert.ok(status === 1 || status === 6, `status ${status}: ${stderr}`)
    assert.match(stderr, /^Error: \S/m)
    assert.match(stderr, /The server’s log is \S+\.log/)
    await place.expectNoProcess()
    removeWhatItKept(place)
    await expectNothingLeft(place)
  }),
)

const other = { uid: 65_534, gid: 65_534 }
const whyNotOther = !runsAsRoot()
  ? 'only root can become another user'
  : reachableBy(other, modulePath('main')) && reachableBy(other, process.execPath)
    ? procOnly
    : 'the checkout is in a folder that other users cannot enter'

test(
  'demo --exit --json as another user without rights and without a home is one document',
  { skip: whyNotOther },
  () =>
    inPlace({ mode: 0o755 }, async (place) => {
      chmodSync(join(place.root, 'tmp'), 0o1777)
      mkdirSync(join(place.root, 'cwd'), { mode: 0o755 })
      const command = demo(place, ['--exit', '--json'], {
        account: other,
        env: { HOME: '/nonexistent' },
        cwd: join(place.root, 'cwd'),
      })
      const { status, stdout, stderr } = await command.ended
      assert.deepEqual([status, stderr], [0, ''])
      const report = JSON.parse(stdout) as { answer: { text: string }; deployment: { hourly_cost_usd: number } }
      assert.ok(report.answer.text.length > 0)
      assert.equal(report.deployment.hourly_cost_usd, 4.41)
      await expectNothingLeft(place)
    }),
)
