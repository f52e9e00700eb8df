/** What a large body on its way does to the streams of others: the time between their events, with and without it. */
import { connect } from 'node:net'
import { systemClock } from '../../src/runtime/clock.ts'
import type { Front } from './cost.ts'
import { quantile } from './numbers.ts'
import type { Helper } from './process.ts'
import { streams } from './streams.ts'

const streamsAtOnce = 100
const events = 200
const megabyte = 1024 * 1024

/** Milliseconds by which the 99th percentile between two events grows. */
export async function disturbance(load: Helper, front: Front, disturb: (stop: AbortSignal) => Promise<void>) {
  const quiet = quantile((await streams(load, front, streamsAtOnce, events)).gaps, 0.99)
  const stop = new AbortController()
  const disturbing = disturb(stop.signal)
  const loud = quantile((await streams(load, front, streamsAtOnce, events)).gaps, 0.99)
  stop.abort()
  await disturbing
  return loud - quiet
}

/** One prompt of a megabyte after the other. */
export async function largePrompts(load: Helper, front: Front, stop: AbortSignal): Promise<void> {
  const { port, headers } = front
  while (!stop.aborted) {
    await load.ask({ port, headers, connections: 1, requests: 1, stream: null, promptSize: megabyte })
    await systemClock.sleep(10)
  }
}

/** A model of a gigabyte, as fast as it is taken. Resolves with the bytes that were taken. */
export function upload(front: Front, bytes: number, stop: AbortSignal): Promise<number> {
  const piece = Buffer.alloc(megabyte / 4, 0x41)
  return new Promise((resolve) => {
    let sent = 0
    const socket = connect({ port: front.port, host: '127.0.0.1' })
    const more = (): void => {
      while (sent < bytes && !stop.aborted) {
        sent += piece.length
        if (!socket.write(piece)) return
      }
      socket.destroy()
    }
    socket.on('connect', () => {
      socket.write(
        'POST /api/v1/public/models/upload HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer bench-key\r\n' +
          `content-type: multipart/form-data; boundary=x\r\ncontent-length: ${bytes}\r\n\r\n`,
      )
      more()
    })
    socket.on('drain', more)
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => resolve(sent))
  })
}
