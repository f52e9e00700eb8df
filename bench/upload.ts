/**
 * Memory of the server's processes while a large file streams through gateway and control: resident memory of each, the
 * most seen while it comes above what it was before. The file is zeros behind a header, made as it is sent.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { tinyGguf } from '../src/models/uploads/testing.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { startServer } from '../test/e2e/harness.ts'
import { Place } from '../test/e2e/place.ts'
import type { Bench, Measured } from './report.ts'

const wholeBytes = 5_000_000_000
const quickBytes = 500_000_000
const targetMegabytes = 150
const lookEveryMs = 100
const piece = Buffer.alloc(64 * 1024)

export const bench: Bench = {
  name: 'upload',
  about: 'growth of resident memory while 5 GB (--quick: 0.5 GB) are uploaded through the gateway, by process',
  run: async (report, { quick }) => {
    if (!existsSync('/proc/self/smaps_rollup')) {
      report({ name: 'memory', value: null, unit: 'MB', why: 'needs Linux' })
      return
    }
    const place = new Place()
    try {
      const server = await startServer(place)
      await measure(
        report,
        { url: server.url, key: server.operatorKey, pid: server.pid },
        quick ? quickBytes : wholeBytes,
      )
      await server.stop()
    } finally {
      await place.remove()
    }
  },
}

interface Target {
  url: string
  key: string
  pid: number
}

async function measure(report: (measured: Measured) => void, target: Target, bytes: number): Promise<void> {
  await send(target, 'warm-up', 50_000_000)
  const before = memoryOf(target.pid)
  const most = new Map(before)
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      for (const [pid, now] of memoryOf(target.pid)) {
        const known = most.get(pid)
        if (known !== undefined && now.bytes > known.bytes) most.set(pid, now)
      }
      await systemClock.sleep(lookEveryMs, over.signal)
    }
  })()
  const from = systemClock.monotonicMs()
  const status = await send(target, 'bench', bytes)
  const seconds = (systemClock.monotonicMs() - from) / 1000
  over.abort()
  await watching
  if (status !== 201) throw new Error(`the upload was answered with ${status}`)
  const grown = [...before].map(([pid, { name, bytes }]) => ({ name, grown: most.get(pid)!.bytes - bytes }))
  const unit = 'MB'
  for (const one of grown) report({ name: `growth of ${one.name}`, value: one.grown / 1e6, unit })
  const value = grown.reduce((sum, one) => sum + one.grown, 0) / 1e6
  report({ name: 'growth of all together', value, unit, target: targetMegabytes })
  report({ name: 'rate', value: bytes / 1e6 / seconds, unit: 'MB/s' })
}

/** Resident memory that is a process's own, of this one and all below it that are Node's. */
function memoryOf(root: number): Map<number, { name: string; bytes: number }> {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    const stat = read(`/proc/${name}/stat`)
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  const isBelow = (pid: number): boolean => pid === root || (parents.has(pid) && pid > 1 && isBelow(parents.get(pid)!))
  const found = new Map<number, { name: string; bytes: number }>()
  for (const pid of parents.keys()) {
    if (!isBelow(pid)) continue
    const command = read(`/proc/${pid}/cmdline`).split('\0')
    const part = command.find((one) => /server-\w+\.\w+$/.test(one)) ?? (pid === root ? 'supervisor' : null)
    const kilobytes = Number(/^Rss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? Number.NaN)
    if (part !== null && kilobytes > 0) found.set(pid, { name: part.replace(/^.*\//, ''), bytes: kilobytes * 1024 })
  }
  return found
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** One form, no faster than it is taken. Gives the status. */
function send({ url, key }: Target, name: string, bytes: number): Promise<number> {
  const header = tinyGguf({}, bytes, 0)
  const size = Math.ceil(bytes / 32) * 32
  const part = (head: string) => Buffer.from(`--b\r\ncontent-disposition: form-data; ${head}\r\n\r\n`)
  const first = Buffer.concat([
    part('name="name"'),
    Buffer.from(`${name}\r\n`),
    part('name="file"; filename="f"'),
    header,
  ])
  const last = Buffer.from('\r\n--b--\r\n')
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'multipart/form-data; boundary=b',
    'content-length': first.length + size + last.length,
  }
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}/api/v1/public/models/upload`, { method: 'POST', headers })
    outgoing.on('error', reject)
    outgoing.on('response', (answer) => answer.resume().on('end', () => resolve(answer.statusCode ?? 0)))
    let left = size
    const more = (): void => {
      while (left > 0) {
        const now = left < piece.length ? piece.subarray(0, left) : piece
        left -= now.length
        if (!outgoing.write(now)) return void outgoing.once('drain', more)
      }
      outgoing.end(last)
    }
    outgoing.write(first)
    more()
  })
}
