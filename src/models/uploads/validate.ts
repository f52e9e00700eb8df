/** From whole to ready: the file is put in its place, read once more if its hash is not known, and tried with llama.cpp. */
import { Fault } from '../../kernel/fault.ts'
import type { UploadContext } from './context.ts'
import { Intake, type Received, unreadable } from './intake.ts'
import { wholeOf } from './source.ts'
import type { UploadFacts, UploadRow } from './store.ts'

export interface Found {
  sha256: string
  facts: UploadFacts
}

/** What it is, or why it is none; null = told to stop. Throws when the storage fails. */
export async function validate(
  context: UploadContext,
  row: UploadRow,
  signal: AbortSignal,
): Promise<Found | Fault | null> {
  const { storage, copies, tryLoad } = context
  try {
    await storage.finish(row.id)
    const found =
      row.sha256 !== null && row.facts !== null
        ? { sha256: row.sha256, facts: row.facts }
        : await readAgain(context, row, signal)
    if (found === null || found.facts.kind === 'adapter' || tryLoad === undefined) return found
    const why = await copies.reading(wholeOf({ ...row, sha256: found.sha256 }), (path) => tryLoad(path, signal))
    if (signal.aborted) return null
    return why === null ? found : refused(why)
  } catch (thrown) {
    // What passes by itself says nothing of the file.
    if (thrown instanceof Fault && thrown.status < 500) return thrown
    throw thrown
  }
}

async function readAgain(
  { storage, bases }: UploadContext,
  row: UploadRow,
  signal: AbortSignal,
): Promise<Received | null> {
  const intake = new Intake(bases())
  for await (const piece of storage.read(row.id)) {
    if (signal.aborted) return null
    intake.take(piece)
  }
  if (intake.bytes !== Number(row.size_bytes))
    throw unreadable(`${intake.bytes} of ${row.size_bytes} bytes were stored`)
  return intake.end()
}

function refused(why: string): Fault {
  return new Fault('model_file_unreadable', `llama.cpp cannot load the file: ${why}.`)
}
