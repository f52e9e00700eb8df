import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { modulePath } from '../runtime/self.ts'

function paddock(...args: string[]) {
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [modulePath('main'), ...args], {
    encoding: 'utf8',
    env,
  })
  return { status, stdout, stderr }
}

test('help: every command has a description and examples, the exit statuses are there', () => {
  const { status, stdout } = paddock('--help')
  assert.equal(status, 0)
  for (const word of [
    'serve',
    'demo',
    'deploy',
    'ls',
    'get',
    'chat',
    'explain',
    'rm',
    'stop',
    'start',
    'restart',
    'wake',
    'sleep',
    'scale',
    'rollback',
    'limits',
    'keys',
    'presets',
    'models',
    'fit',
    'logs',
    'top',
    'Exit status:',
  ])
    assert.ok(stdout.includes(word), word)
  for (const command of ['deploy', 'chat', 'serve', 'stop', 'scale', 'rollback', 'fit']) {
    const help = paddock(command, '--help')
    assert.equal(help.status, 0)
    assert.match(help.stdout, /Examples:\n {2}\S/)
    assert.match(help.stdout, /--json/)
  }
})

test('wrong usage ends with 2 and one sentence that names what is wrong', () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: paddock/],
    [['nonsense'], /Unknown command 'nonsense'/],
    [['ls', '--nonsense'], /Unknown option '--nonsense'\. See "paddock ls --help"/],
    [['deploy'], /Missing required argument 'model'/],
    [['deploy', 'm', '--engine', 'x'], /llamacpp/],
    [['ls', '--port', 'x'], /"x" is no port/],
    [['keys', 'create'], /--name/],
    [['scale', 'x', '--max', 'many', '--key', 'k'], /--max must be a whole number from 1; seen: "many"/],
    [['scale', 'x', '--on', '--off', '--key', 'k'], /--on and --off/],
    [['scale', 'x', '--cooldown', 'soon', '--key', 'k'], /--cooldown must be a time/],
    [['scale', 'x', '--expires', 'soon', '--key', 'k'], /--expires must be a time such as 8h/],
    [['scale', 'x', '--schedule', '/nowhere.json', '--key', 'k'], /\/nowhere\.json cannot be read/],
    [['limits', 'x', '--rpm', '0', '--key', 'k'], /--rpm must be a whole number from 1; seen: "0"/],
    [['keys', 'set', 'key_x', '--key', 'k'], /Say what to change/],
    [['keys', 'create', '--name', 'x', '--priority', '9', '--key', 'k'], /--priority must be 0, 1, 2, 3 or 4/],
    [['presets', 'apply', 'x', 'fast'], /speed, latency, cost, balanced/],
    [['stop', 'x', '--wait', '--timeout', '-1', '--key', 'k'], /--timeout/],
    [['top', '--window', '2h'], /60s, 5m, 1h/],
    [['rollback', 'x', '--to', '0', '--key', 'k'], /--to must be a whole number from 1/],
  ]
  for (const [args, said] of cases) {
    const { status, stdout, stderr } = paddock(...args)
    assert.equal(status, 2, args.join(' '))
    assert.match(stderr, said)
    assert.equal(stdout, '')
  }
})

test('with --json an error is one JSON document on stderr and stdout is empty', () => {
  for (const args of [
    ['ls', '--json', '--nonsense'],
    ['--json', 'nonsense'],
    ['get', '--json'],
  ]) {
    const { status, stdout, stderr } = paddock(...args)
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.equal(JSON.parse(stderr).error.code, 'usage')
  }
})

test('a server that is not there is told apart from a key that is not there', async () => {
  const probe = createServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}'),
  )
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as { port: number }
  const { spawn } = await import('node:child_process')
  const run = (args: string[]) =>
    new Promise<{ status: number | null; stderr: string }>((resolve) => {
      const child = spawn(process.execPath, [modulePath('main'), ...args], {
        env: { HOME: '/nonexistent' },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let stderr = ''
      child.stderr.on('data', (piece) => {
        stderr += piece
      })
      child.on('close', (status) => resolve({ status, stderr }))
    })
  const noKey = await run(['ls', '--port', String(port)])
  assert.equal(noKey.status, 5)
  assert.match(noKey.stderr, /There is no API key/)
  await new Promise((resolve) => probe.close(resolve))
  for (const args of [
    ['ls', '--port', String(port)],
    ['ls', '--port', String(port), '--key', 'sk_x'],
  ]) {
    const { status, stderr } = await run(args)
    assert.equal(status, 6)
    assert.match(stderr, /does not answer \(connection refused\)\. Start a server/)
  }
})
