/** Planted: what a request settled as is written a moment after its answer has left. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { writeSync } = fs
const delayMs = 30
const closeByte = 0x63
let late = []
fs.writeSync = (descriptor, buffer, offset, length, position) => {
  const isClose = Buffer.isBuffer(buffer) && length > 9 && buffer[8] === closeByte
  if (!isClose) return writeSync(descriptor, buffer, offset, length, position)
  late.push([descriptor, Buffer.from(buffer.subarray(offset, offset + length)), 0, length, position])
  return length
}
setInterval(() => {
  for (const one of late) writeSync(...one)
  late = []
}, delayMs).unref()
syncBuiltinESMExports()
