/**
 * A folder as the file that npm installs: a gzipped tar of plain files below `package/`. `npm pack` makes the same of a
 * folder that holds what it should, but spends half a minute on deciding what that is when there are thousands of files.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { gzipSync } from 'node:zlib'

const blockBytes = 512
const nameBytes = 100
const prefixBytes = 155
/** The same files are the same bytes, whenever they were packed; zip programs know no time before 1980. */
const packedAtSeconds = Date.UTC(1985, 9, 26, 8, 15) / 1000

/** Writes all files of `folder` into `file`. Throws on what is neither a file nor a folder. */
export function writeTarball(folder: string, file: string): void {
  const parts = filesOf(folder).flatMap((path) => {
    const content = readFileSync(path)
    const name = `package/${relative(folder, path).split(sep).join('/')}`
    const runs = (statSync(path).mode & 0o100) !== 0
    return [
      header(name, content.length, runs ? 0o755 : 0o644),
      content,
      Buffer.alloc(-content.length & (blockBytes - 1)),
    ]
  })
  writeFileSync(file, gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * blockBytes)]), { level: 9 }))
}

function filesOf(folder: string): string[] {
  const files: string[] = []
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) files.push(path)
    else if (!entry.isDirectory()) throw new Error(`${path} is neither a file nor a folder; it cannot be packed.`)
  }
  return files.sort()
}

/** As POSIX calls ustar. */
function header(path: string, bytes: number, mode: number): Buffer {
  const [prefix, name] = split(path)
  const block = Buffer.alloc(blockBytes)
  block.write(name, 0)
  block.write(octal(mode, 8), 100)
  block.write(octal(0, 8), 108)
  block.write(octal(0, 8), 116)
  block.write(octal(bytes, 12), 124)
  block.write(octal(packedAtSeconds, 12), 136)
  // The sum is made with spaces in its own place.
  block.fill(' ', 148, 156)
  block.write('0', 156)
  block.write('ustar\x0000', 257)
  block.write(prefix, 345)
  const sum = block.reduce((all, byte) => all + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

function octal(value: number, bytes: number): string {
  return `${value.toString(8).padStart(bytes - 1, '0')}\0`
}

/** A long path has its first folders in a field of their own. */
function split(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= nameBytes) return ['', path]
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(prefix) <= prefixBytes && Buffer.byteLength(name) <= nameBytes) return [prefix, name]
  }
  throw new Error(`The path ${path} is too long to be packed.`)
}
