/**
 * Reads clients' connections into one lasting buffer. A socket usually gets a buffer of its own for every read, which
 * costs more than the reading, and which the collector has to look after. Node lets sockets that one opens read so
 * (`onread`) but has no way to say it of those that come to a server; what it would set on them is set here.
 */
import { Socket } from 'node:net'

/** What has come is at its beginning until the next read, of whichever connection. */
export const arrival = Buffer.alloc(64 * 1024)

/** Hears how many bytes have come to `arrival`; false: nothing more is read until the socket is resumed. */
export type Arrived = (size: number) => boolean

interface Inner {
  _handle?: { useUserBuffer?(buffer: Buffer): void } | null
  [key: symbol]: unknown
}

/** Where sockets keep what `onread` says; undefined in a node that has it elsewhere. */
const bufferKey = keyOf('kBuffer')
const callbackKey = keyOf('kBufferCb')

/** Nothing may listen for the socket's data. */
export function readIntoArrival(socket: Socket, arrived: Arrived): void {
  const inner = socket as unknown as Inner
  const handle = inner._handle
  if (typeof handle?.useUserBuffer !== 'function' || bufferKey === undefined || callbackKey === undefined) {
    socket.on('data', (piece: Buffer) => copyIn(socket, piece, arrived))
    return
  }
  handle.useUserBuffer(arrival)
  inner[bufferKey] = arrival
  inner[callbackKey] = arrived
}

function copyIn(socket: Socket, piece: Buffer, arrived: Arrived): void {
  for (let at = 0; at < piece.length; at += arrival.length)
    if (!arrived(piece.copy(arrival, 0, at, at + arrival.length))) socket.pause()
}

function keyOf(name: string): symbol | undefined {
  return Object.getOwnPropertySymbols(new Socket()).find(({ description }) => description === name)
}
