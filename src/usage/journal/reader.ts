/** Reads a segment from a position on, in pieces, so that memory does not grow with what is on the disk. */
import { open } from 'node:fs/promises'
import { type Kind, type Line, readFrames } from './frame.ts'

export interface Piece {
  lines: Line[]
  /** Position in the file behind them. */
  next: number
  damagedBytes: number
}

const pieceBytes = 256 * 1024

/**
 * Pieces from `from` to the end of what is whole. `final`: nobody writes here any more, so that what is not whole is
 * damage and is passed over, like lines of the kind `without`. A file that is gone has nothing.
 */
export async function* readSegment(
  path: string,
  from: number,
  final: boolean,
  without: Kind | null = null,
): AsyncGenerator<Piece> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (file === null) return
  try {
    const buffer = Buffer.alloc(pieceBytes)
    for (let at = from; ; ) {
      const { bytesRead } = await file.read(buffer, 0, pieceBytes, at)
      const isEnd = bytesRead < pieceBytes
      const read = readFrames(buffer.subarray(0, bytesRead), final && isEnd, without)
      at += read.consumed
      if (read.consumed > 0) yield { lines: read.lines, next: at, damagedBytes: read.damaged }
      if (isEnd || read.consumed === 0) return
    }
  } finally {
    await file.close()
  }
}

/** What is in the file is on the disk when it resolves. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}
