/** Numbers as ggml stores them: halves, and blocks of 32 with a scale (Q8_0). */
const blockNumbers = 32
const blockBytes = 2 + blockNumbers
const one = new DataView(new ArrayBuffer(2))

export function halvesOf(data: Float32Array): Buffer {
  const bytes = Buffer.alloc(data.length * 2)
  for (let i = 0; i < data.length; i += 1) bytes.writeUInt16LE(half(data[i]!), i * 2)
  return bytes
}

/** Rows must be whole blocks: their length a multiple of 32. */
export function quantised(data: Float32Array): Buffer {
  if (data.length % blockNumbers !== 0)
    throw new Error(`${data.length} numbers are not whole blocks of ${blockNumbers}`)
  const bytes = Buffer.alloc((data.length / blockNumbers) * blockBytes)
  for (let block = 0; block * blockNumbers < data.length; block += 1) {
    const numbers = data.subarray(block * blockNumbers, (block + 1) * blockNumbers)
    const scale = numbers.reduce((most, n) => Math.max(most, Math.abs(n)), 0) / 127
    const at = block * blockBytes
    bytes.writeUInt16LE(half(scale), at)
    for (const [i, n] of numbers.entries()) bytes.writeInt8(scale === 0 ? 0 : Math.round(n / scale), at + 2 + i)
  }
  return bytes
}

function half(n: number): number {
  one.setFloat16(0, n)
  return one.getUint16(0)
}

export function fromHalf(bits: number): number {
  one.setUint16(0, bits)
  return one.getFloat16(0)
}
