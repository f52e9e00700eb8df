/** The command line against the real server: every command, for people and for programs, and every exit status. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { modulePath } from '../../src/runtime/self.ts'
import { Command, type CommandOptions, paddock, type Spoken } from './command.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'
import { uploadCommand, uploadLimits } from './upload-command.suite.ts'

const place = new Place()
let server: Server

/** The command for this test's server, with the operator's key from the data folder. */
function run(args: string[], options: CommandOptions = {}): Promise<Spoken> {
  return paddock(place, [...args, '--port', String(server.port)], options)
}

async function ok(args: string[], options: CommandOptions = {}): Promise<Spoken> {
  const spoken = await run(args, options)
  assert.equal(spoken.status, 0, JSON.stringify(spoken))
  return spoken
}

async function json(args: string[]): Promise<never> {
  const { stdout, stderr } = await ok([...args, '--json'])
  assert.equal(stderr, '')
  return JSON.parse(stdout) as never
}

describe('command line', { concurrency: false }, () => {
  before(async () => {
    server = await startServer(place, { args: ['--fleet', 'emulated'], env: uploadLimits })
  })
  after(async () => {
    await server?.stop()
    await place.remove()
  })

  test('an empty server has a header and a hint', async () => {
    const { stdout, stderr } = await ok(['ls'])
    assert.match(stdout, /^NAME +STATUS +PHASE +MODEL +HARDWARE +READY +\$\/HOUR +COST +AGE\n$/)
    assert.match(stderr, /paddock deploy paddock\/starter --wait/)
  })

  test('deploy --wait shows progress line by line and ends when it answers', async () => {
    const { stdout, stderr } = await ok(['deploy', 'paddock/starter', '--gpu', 'h100', '--wait', '--timeout', '90s'])
    assert.match(stderr, /starter is (queued|starting): paddock\/starter on 1 × h100 \(emulated\), \$4\.41\/hour\./)
    assert.match(stderr, /^starter {2}(queued|starting)/m)
    assert.match(stdout, /^starter answers after \d+\.\d s\.$/m)
    assert.match(stdout, /paddock chat starter "Hello"/)
  })

  test('ls and get show it, to people and to programs', async () => {
    const { stdout } = await ok(['ls'])
    assert.match(
      stdout,
      /^starter +active +serving +paddock\/starter +1 × h100 \(emulated\) +1\/1 +\$4\.41 +\$0\.\d+ +(?:now|\d+s)$/m,
    )
    const list: { data: { name: string; status: string }[]; next_cursor: null } = await json(['ls'])
    assert.deepEqual(
      list.data.map(({ name, status }) => [name, status]),
      [['starter', 'active']],
    )
    const page = await ok(['get', 'starter'])
    assert.match(page.stdout, /^status +serving \(active\)$/m)
    const one: { id: string; hourly_cost_usd: number; emulated: boolean } = await json(['get', 'starter'])
    assert.deepEqual([one.hourly_cost_usd, one.emulated], [4.41, true])
    assert.equal(((await json(['get', one.id])) as { name: string }).name, 'starter')
  })

  test('chat streams the answer as it comes and tells what it took', async () => {
    const command = new Command(place, [
      'chat',
      'starter',
      'Hello',
      '--max-tokens',
      '200',
      '--stats',
      '--port',
      String(server.port),
    ])
    const { status, stdout, stderr } = await command.ended
    assert.equal(status, 0, stderr)
    assert.ok(stdout.length > 1 && stdout.endsWith('\n'))
    assert.ok(command.pieces > 1, `the answer came in ${command.pieces} piece`)
    assert.match(stderr, /^first token (\d+ ms|\d+\.\d s) · \d+ tokens\/s · \d+ tokens$/m)
  })

  test('chat takes its prompt from a pipe, and is one document with --json', async () => {
    assert.ok((await ok(['chat', 'starter', '--max-tokens', '5'], { input: 'Hello from a pipe\n' })).stdout.length > 0)
    const answer: { content: string; usage: { completion_tokens: number }; finish_reason: string; ttft_ms: number } =
      await json(['chat', 'starter', 'Hello', '--max-tokens', '5', '--system', 'Be short.', '--temperature', '0'])
    assert.ok(answer.usage.completion_tokens >= 1 && answer.usage.completion_tokens <= 5)
    assert.ok(answer.ttft_ms > 0)
    assert.equal((await run(['chat', 'starter'], { input: '' })).status, 2)
  })

  test('Ctrl-C during an answer ends with 130, at once and without a word', async () => {
    const port = String(server.port)
    const long = ['--max-tokens', '4000', '--param', 'ignore_eos=true']
    const command = new Command(place, ['chat', 'starter', 'Hello', ...long, '--port', port])
    await command.says(/\S/)
    command.child.kill('SIGINT')
    const { status, stdout, stderr } = await command.ended
    assert.deepEqual([status, stderr], [130, ''])
    assert.ok(stdout.endsWith('\n'))
  })

  test('top shows what went on, to people and to programs, once or until Ctrl-C', async () => {
    const seen = await until(systemClock, 'the gateway has told', 60_000, async () => {
      const all: { data: { name: string; requests: number; status: Record<string, number>; emulated: boolean }[] } =
        await json(['top', '--window', '1h'])
      assert.deepEqual(
        all.data.map(({ name, emulated }) => [name, emulated]),
        [['starter', true]],
      )
      return (all.data[0]!.status['499'] ?? 0) >= 1 ? all.data[0]! : null
    })
    assert.equal(
      seen.requests,
      Object.values(seen.status).reduce((sum, count) => sum + count, 0),
    )
    assert.ok(seen.status['200']! >= 3, JSON.stringify(seen.status))
    const { stdout } = await ok(['top', '--window', '1h'])
    assert.match(stdout, /^NAME +PHASE +READY +REQ\/S +IN FLIGHT .*\nstarter \(emulated\) +serving +1\/1 +\d/)
    const page = await ok(['top', 'starter', '--window', '1h'])
    assert.match(page.stdout, /^by status +200: \d+ {2}499: 1$/m)
    assert.match(page.stdout, /^first token +p50 \d/m)
    const one: { deployment_id: string } = await json(['top', 'starter'])
    assert.match(one.deployment_id, /^dep_/)
    assert.equal((await run(['top', 'nobody'])).status, 3)
    assert.equal((await run(['top', 'starter', '--window', '7s'])).status, 2)
  })

  test('explain tells why, how it started, and what happened', async () => {
    const { stdout } = await ok(['explain', 'starter'])
    assert.match(stdout, /^Why\n {2}\S/m)
    assert.match(stdout, /Engine: llamacpp, because/)
    assert.match(
      stdout,
      /^ {2}rep_[a-z0-9]+ {2}ready {2}1 × h100 \(emulated\) in \w+ {2}revision 1\n {4}start: .*ready after \d+\.\d s$/m,
    )
    assert.match(stdout, /^Recent events\n( {2}.*deployment\..*\n)+/m)
    const document: { why: string[]; replicas: unknown[] } = await json(['explain', 'starter'])
    assert.ok(document.why.length > 0 && document.replicas.length === 1)
  })

  test('logs: the last lines, one document, or on and on until Ctrl-C', async () => {
    const { stdout } = await ok(['logs', 'starter', '-n', '3'])
    const lines = stdout.trim().split('\n')
    assert.ok(lines.length >= 1 && lines.length <= 3, stdout)
    const document: { data: { replica_id: string; lines: string[] }[] } = await json(['logs', 'starter'])
    assert.equal(document.data.length, 1)
    const command = new Command(place, ['logs', 'starter', '--follow', '--port', String(server.port)])
    await command.says(/./)
    command.child.kill('SIGINT')
    assert.equal((await command.ended).status, 130)
    assert.equal((await run(['logs', 'starter', '--follow', '--json'])).status, 2)
  })

  test('sleep, wake, scale, restart, rollback, stop, start: each waits until it is so', async () => {
    assert.match(
      (await ok(['scale', 'starter'])).stdout,
      /^starter has exactly 1 replica\.\n1 of 1 wanted now are ready/,
    )
    const slept = await ok(['sleep', 'starter', '--wait', '--timeout', '60s'])
    assert.match(slept.stdout, /^starter is asleep after \d+\.\d s\.$/m)
    const asleep: { phase: string; hourly_cost_usd: number } = await json(['get', 'starter'])
    assert.deepEqual([asleep.phase, asleep.hourly_cost_usd], ['asleep', 0])
    assert.match((await ok(['wake', 'starter', '--wait', '--timeout', '90s'])).stdout, /^starter answers after/m)

    const scaled = await ok([
      'scale',
      'starter',
      '--min',
      '2',
      '--max',
      '3',
      '--cooldown',
      '5m',
      '--to-zero',
      '--idle',
      '10m',
    ])
    assert.match(scaled.stdout, /^starter scales from 2 to 3 replicas by steps; cooldown/)
    assert.match(scaled.stdout, /It sleeps after 10/)
    const one: { min_replicas: number; ready_replicas: number; autoscaling_enabled: boolean } = await json([
      'scale',
      'starter',
      '--replicas',
      '1',
      '--wait',
    ])
    assert.deepEqual([one.min_replicas, one.ready_replicas, one.autoscaling_enabled], [1, 1, false])
    assert.match((await ok(['scale', 'starter'])).stdout, /1 → 2 {2}limits: .*\n.*0 → 1 {2}wake/)
    const refused = await run(['scale', 'starter', '--cooldown', '10s'])
    assert.deepEqual([refused.status, refused.stdout], [1, ''])
    assert.match(refused.stderr, /cooldown_seconds must be more than 120/)

    assert.match((await ok(['restart', 'starter', '--wait', '--timeout', '90s'])).stdout, /runs on new replicas after/)
    const back: { revision: number } = await json(['rollback', 'starter', '--to', '1', '--wait'])
    assert.equal(back.revision, 3)
    assert.match((await run(['rollback', 'starter', '--to', '77'])).stderr, /there is no revision 77/)

    assert.match((await ok(['stop', 'starter', '--wait'])).stdout, /^starter is stopped after/m)
    assert.match((await ok(['stop', 'starter'])).stdout, /^starter is stopped\.$/m)
    assert.equal((await run(['wake', 'starter'])).status, 1)
    assert.match((await ok(['start', 'starter', '--wait', '--timeout', '90s'])).stdout, /^starter answers after/m)
    for (const verb of ['stop', 'start', 'restart', 'wake', 'sleep', 'rollback', 'scale'])
      assert.equal((await run([verb, 'nobody'])).status, 3, verb)
  })

  test('by the clock: a schedule stops and starts, a lease ends; nobody asks for either', async () => {
    const phaseIs = (phase: string) =>
      until(systemClock, `starter ${phase}`, 60_000, async () => {
        const seen: { phase: string; reason: { code: string; message: string } | null } = await json(['get', 'starter'])
        return seen.phase === phase ? seen : null
      })
    const office = join(place.root, 'office.json')
    const windows = [{ from: '00:00', to: '24:00', action: 'stop' }]
    writeFileSync(office, JSON.stringify({ timezone: 'Europe/Berlin', windows }))
    const closed = await ok(['scale', 'starter', '--schedule', office])
    assert.match(closed.stdout, /^Its schedule: stop\.$/m)
    assert.equal((await phaseIs('stopped')).reason?.code, 'stopped_by_schedule')
    assert.match((await ok(['get', 'starter'])).stdout, /^schedule +stop$/m)
    const refused = await run(['chat', 'starter', 'Hello'])
    assert.match(refused.stderr, /starter is stopped: Its schedule stopped it/)
    assert.equal(
      refused.stderr.match(/Start the deployment\./g)?.length,
      1,
      `what to do is said once: ${refused.stderr}`,
    )
    await ok(['scale', 'starter', '--no-schedule', '--expires', '1h'])
    await phaseIs('serving')
    assert.match((await ok(['get', 'starter'])).stdout, /^lease +ends in (1h 00m|59m \d\ds), /m)

    await ok(['scale', 'starter', '--expires', '1s'])
    assert.equal((await phaseIs('stopped')).reason?.code, 'expired')
    const late = await run(['start', 'starter'])
    assert.deepEqual([late.status, late.stdout], [1, ''])
    assert.match(late.stderr, /Its lease ended at .* Give it a later expires_at, or null, then start it\./)
    await ok(['scale', 'starter', '--expires', 'never'])
    assert.match((await ok(['start', 'starter', '--wait', '--timeout', '90s'])).stdout, /^starter answers after/m)
    writeFileSync(office, JSON.stringify({ windows: [{ from: '8:00', to: '9', action: 'nap' }] }))
    const wrong = await run(['scale', 'starter', '--schedule', office])
    assert.deepEqual([wrong.status, wrong.stdout], [1, ''])
    assert.match(wrong.stderr, /schedule\.windows\[0\]\.action: must be one of scale, sleep, stop/)
  })

  test('presets: listed, applied, and rolled to where their hardware is another', async () => {
    assert.match((await ok(['presets'])).stdout, /^cost +mi300x +steps +after 2m 00s +3m 00s +yes +Batch jobs/m)
    const kept = await ok(['presets', 'apply', 'starter', 'latency', '--keep-hardware'])
    assert.match(kept.stdout, /^starter has the preset latency: changed .*scaling\.policy.*\. It runs on 1 × h100/)
    assert.match((await ok(['presets', 'apply', 'starter', 'latency'])).stdout, /nothing had to change/)
    assert.match((await ok(['get', 'starter'])).stdout, /^preset +latency$/m)
    assert.equal((await run(['presets', 'apply', 'nobody', 'cost'])).status, 3)
    assert.equal((await run(['presets', 'apply', 'starter', 'fast'])).status, 2)
  })

  test('keys: the secret is printed once and alone; a revoked key is refused', async () => {
    const created = await ok(['keys', 'create', '--name', 'for tests', '--role', 'developer', '--expires-in', '1h'])
    assert.match(created.stdout, /^sk_\S+\n$/)
    assert.match(created.stderr, /shown this once/)
    const key = created.stdout.trim()
    assert.ok(!created.stderr.includes(key))
    assert.equal((await run(['ls', '--key', key])).status, 0)
    assert.equal((await run(['ls'], { env: { PADDOCK_API_KEY: key } })).status, 0)
    const { stdout } = await ok(['keys', 'ls'])
    assert.ok(!stdout.includes(key))
    const [, id] = /^(key_\S+) +for tests +developer .* valid for \d+m$/m.exec(stdout) ?? []
    assert.ok(id, stdout)
    const forbidden = await run(['keys', 'revoke', id, '--key', key])
    assert.deepEqual([forbidden.status, forbidden.stdout], [5, ''])
    assert.match((await ok(['keys', 'revoke', id])).stdout, /is revoked: no gateway accepts it any more/)
    assert.equal((await run(['ls', '--key', key])).status, 5)
    assert.ok(!(await ok(['keys', 'ls'])).stdout.includes(id))
    assert.equal((await run(['keys', 'revoke', 'key_none'])).status, 3)
  })

  test('another organisation sees nothing of ours', async () => {
    const org: { id: string } = await json(['orgs', 'create', 'Acme 日本'])
    const listed = await ok(['orgs', 'ls'])
    assert.match(listed.stdout, new RegExp(`^${org.id} +Acme 日本 `, 'm'))
    const { secret }: { secret: string } = await json([
      'keys',
      'create',
      '--name',
      'first',
      '--role',
      'owner',
      '--org',
      org.id,
    ])
    const theirs = await run(['get', 'starter', '--key', secret])
    assert.equal(theirs.status, 3)
    assert.match(theirs.stderr, /^Error: There is no deployment "starter"\. List yours with "paddock ls"\.\n$/)
    assert.deepEqual(((await json(['ls', '--org', org.id])) as { data: unknown[] }).data, [])
  })

  test('what can be deployed is listed with prices', async () => {
    assert.match((await ok(['gpus'])).stdout, /^h100 .*\$4\.41/m)
    assert.match((await ok(['models'])).stdout, /^paddock\/starter /m)
    assert.doesNotMatch((await ok(['models', '--deployable'])).stdout, /novita/)
  })

  test('what fits where is told before anything is paid for, and the operator adds models', async () => {
    const { stdout } = await ok(['fit', 'llama-3.3-70b-instruct', '--gpu', 'h100', '--count', '2'])
    assert.match(stdout, /^llama-3\.3-70b-instruct on 2 × h100: fits\. It fits with \d+\.\d GiB to spare/)
    assert.match(stdout, /^ {2}Price +\$8\.82\/hour/m)
    const misfit: { would_create: boolean } = await json(['fit', 'deepseek/deepseek-v3-0324', '--gpu', 'h100'])
    assert.equal(misfit.would_create, false)
    assert.match(
      (await ok(['deploy', 'paddock/starter', '--dry-run'])).stdout,
      /on 1 × cpu: fits\. .* of memory to spare/,
    )
    assert.equal((await run(['deploy', 'deepseek/deepseek-v3-0324', '--gpu', 'h100'])).status, 1)
    const entry = { id: 'acme/one', source_repo: 'acme/one', context_size: 8192, tensor_type: 'BF16' }
    const input = JSON.stringify(entry)
    assert.match((await ok(['models', 'add', '-'], { input })).stdout, /^acme\/one is in the catalogue/)
    assert.equal((await run(['models', 'add', '-'], { input })).status, 1)
    assert.equal((await run(['models', 'add', '/nowhere.json'])).status, 2)
    assert.match((await ok(['models', 'rm', 'acme/one'])).stdout, /^acme\/one is gone/)
    assert.equal((await run(['models', 'rm', 'acme/one'])).status, 3)
    assert.match((await run(['models', 'rm', 'paddock/starter'])).stderr, /ships with Paddock/)
  })

  test('every way to fail has its status and one or two sentences', async () => {
    const cases: [string[], number, RegExp][] = [
      [['get', 'nobody'], 3, /There is no deployment "nobody"/],
      [['chat', 'nobody', 'Hello'], 3, /There is no deployment "nobody"/],
      [['rm', 'nobody'], 3, /There is no deployment "nobody"/],
      [['ls', '--key', 'sk_wrong_but_well_formed'], 5, /key/],
      [['deploy', 'paddock/starter'], 1, /already/],
      [['deploy', 'no-such-model'], 1, /no-such-model/],
      [['deploy', 'paddock/starter', '--name', 'Not A Name'], 1, /name/],
      [['deploy', 'paddock/starter', '--name', 'x', '--gpu', 'abacus'], 1, /abacus/],
      [['deploy', 'paddock/starter', '--name', 'slow', '--wait', '--timeout', '0.001s'], 4, /did not answer within/],
      [['rm', 'slow', '--wait', '--timeout', 'soon'], 2, /--timeout/],
    ]
    for (const [args, status, said] of cases) {
      const spoken = await run(args)
      assert.equal(spoken.status, status, JSON.stringify({ args, ...spoken }))
      assert.match(spoken.stderr, said)
      assert.match(spoken.stderr.trim().split('\n').at(-1)!, /^Error: \S.*[.)]$/)
    }
    const failed = await run(['get', 'nobody', '--json'])
    assert.deepEqual([failed.status, failed.stdout], [3, ''])
    assert.equal((JSON.parse(failed.stderr) as { error: { code: string } }).error.code, 'not_found')
  })

  describe('upload', () => uploadCommand(place, () => server))

  test('rm --wait ends when it is gone, with what it cost', async () => {
    assert.equal((await run(['rm', 'slow'])).status, 0)
    const { stdout } = await ok(['rm', 'starter', '--wait'])
    assert.match(stdout, /^starter is gone after \d+\.\d s\. It cost \$0\.\d+\.$/m)
    assert.equal((await run(['get', 'starter'])).status, 3)
    assert.match((await ok(['ls', '--deleted'])).stdout, /^starter .* deleted /m)
  })

  test('a reader who had enough ends the command quietly', async () => {
    const shell = spawn(
      'sh',
      ['-c', `"$0" "$1" ls --deleted --port ${server.port} | true; echo done`, process.execPath, modulePath('main')],
      {
        env: { PADDOCK_DATA: place.dataFolder, PATH: process.env.PATH ?? '' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let said = ''
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (piece) => (said += piece))
    await new Promise((resolve) => shell.once('close', resolve))
    assert.equal(said, 'done\n')
  })
})
