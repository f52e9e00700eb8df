/**
 * A stand-in for an inference engine in the tests of compute drivers: no model, only the behaviour of a process.
 * `node engine.mjs --port N [--ignore-term] [--ignore-stdin] [--crash-now] [--status N] [--print-lines N] [--child]
 * [--model PATH]` answers `/health`, `/facts` (who and where it is) and `/try?path=` (can it read that file or folder).
 * Plain JavaScript: it starts often, and faster without types to strip.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: {
    port: { type: 'string' },
    'ignore-term': { type: 'boolean' },
    'ignore-stdin': { type: 'boolean' },
    'crash-now': { type: 'boolean' },
    status: { type: 'string', default: '3' },
    'print-lines': { type: 'string', default: '0' },
    child: { type: 'boolean' },
    model: { type: 'string' },
  },
})

for (let line = 1; line <= Number(flags['print-lines']); line++) console.log(`line ${line}`)
if (flags['crash-now']) process.exit(Number(flags.status))
process.on('SIGTERM', () => {
  console.log('SIGTERM came')
  if (!flags['ignore-term']) process.exit(0)
})
if (!flags['ignore-stdin']) process.stdin.on('end', () => process.exit(0)).resume()
if (flags.child) spawn('/bin/sh', ['-c', 'exec sleep 600'], { detached: true, stdio: 'ignore' })

/** @param {string} path */
function canRead(path) {
  try {
    const read = statSync(path).isDirectory() ? readdirSync(path) : readFileSync(path)
    return `yes: ${read.length}`
  } catch (error) {
    return String(error.code)
  }
}

/** @param {string} path */
function canConnect(path) {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve('yes'))
    socket.once('error', (error) => resolve(String(error.code)))
  })
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://engine')
  const path = url.searchParams.get('path') ?? ''
  if (url.pathname === '/health') response.end('ok')
  else if (url.pathname === '/facts')
    response.end(JSON.stringify({ pid: process.pid, uid: process.getuid?.(), cwd: process.cwd(), env: process.env }))
  else if (url.pathname === '/try') response.end(canRead(path))
  else if (url.pathname === '/connect') response.end(await canConnect(path))
  else response.writeHead(404).end()
})
server.listen(Number(flags.port), '127.0.0.1', () => console.log(`listening as ${process.pid}`))
