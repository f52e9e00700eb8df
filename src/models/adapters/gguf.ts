/** A LoRA adapter as llama.cpp has it: `general.type` adapter, pairs of tensors NAME.lora_a and NAME.lora_b. */
import { BrokenGguf, type GgufContents, readGgufContents } from '../../kernel/gguf.ts'
import { type AdapterFile, type Change, headBytesMaximum, type Read, unreadable, withFile } from './file.ts'

const basesMaximum = 16

/** Throws Fault `adapter_unreadable`, or the file system's error. */
export function readGgufAdapter(path: string): AdapterFile {
  return withFile(path, (read, sizeBytes) => ggufAdapter(path, { read, sizeBytes, headBytes: sizeBytes }))
}

/** The same of a file of which only so many bytes are at hand. */
export function ggufAdapter(
  path: string,
  { read, sizeBytes, headBytes }: { read: Read; sizeBytes: number; headBytes: number },
): AdapterFile {
  const { pairs, tensors, sizeBytes: whole } = contentsOf(read, Math.min(headBytes, headBytesMaximum))
  if (pairs.get('general.type') !== 'adapter' || pairs.get('adapter.type') !== 'lora')
    throw unreadable('it is a GGUF file, but no LoRA adapter (general.type, adapter.type)')
  if (BigInt(sizeBytes) < whole) throw unreadable(`it is cut off: ${sizeBytes} of ${whole} bytes`)
  const architecture = pairs.get('general.architecture')
  if (typeof architecture !== 'string') throw unreadable('general.architecture is missing')
  if (typeof pairs.get('adapter.lora.alpha') !== 'number') throw unreadable('adapter.lora.alpha is missing')
  const { changes, rank } = changesOf(tensors)
  return { format: 'gguf', path, sizeBytes, rank, bases: basesOf(pairs), architecture, changes }
}

/** What the model, or the adapter, says that it rests on. */
export function basesOf(pairs: GgufContents['pairs']): string[] {
  const bases: string[] = []
  for (let n = 0; n < basesMaximum; n++) {
    const url = pairs.get(`general.base_model.${n}.repo_url`)
    if (typeof url === 'string' && url !== '') bases.push(url)
  }
  return bases
}

function contentsOf(read: Read, limit: number): GgufContents {
  try {
    return readGgufContents(read, limit, (key) => key.startsWith('general.') || key.startsWith('adapter.'))
  } catch (error) {
    if (error instanceof BrokenGguf) throw unreadable(error.message)
    throw error
  }
}

function changesOf(tensors: GgufContents['tensors']): { changes: Change[]; rank: number } {
  const changes: Change[] = []
  let rank = 0
  for (const [name, shape] of tensors) {
    const [, of, half] = /^(.*?)(?:\.weight)?\.lora_(a|b)$/.exec(name) ?? []
    if (of === undefined) throw unreadable(`its tensor ${JSON.stringify(name)} is none of a LoRA adapter`)
    const other = tensors.get(name.slice(0, -1) + (half === 'a' ? 'b' : 'a'))
    if (other === undefined) throw unreadable(`its tensor ${JSON.stringify(name)} has no counterpart`)
    if (half === 'b') continue
    if (shape[1] !== other[0]) throw unreadable(`the two halves of ${JSON.stringify(of)} do not fit each other`)
    rank = Math.max(rank, shape[1] ?? 0)
    changes.push({ module: of, inputs: shape[0] ?? 0, outputs: other[1] ?? 0 })
  }
  if (changes.length === 0) throw unreadable('it changes nothing')
  return { changes, rank }
}
