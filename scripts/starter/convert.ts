/**
 * Writes the GGUF files: `node scripts/starter/convert.ts OUT` the model, from what `train.py` left in OUT; without OUT only
 * the adapters, from their PEFT files beside it.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type AdapterConfig, adapterFile } from './adapter-file.ts'
import { modelFile, type Vocabulary } from './model-file.ts'
import { readSafetensors } from './safetensors-file.ts'

export const starterFolder = join(import.meta.dirname, '..', '..', 'models', 'starter')
/** Each adapter has a folder of its own. */
export function adapterNames(): string[] {
  return readdirSync(starterFolder, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []))
}

export function modelFrom(folder: string): Buffer {
  const vocabulary = JSON.parse(readFileSync(join(folder, 'vocabulary.json'), 'utf8')) as Vocabulary
  return modelFile(readSafetensors(readFileSync(join(folder, 'model.safetensors'))), vocabulary)
}

export function adapterFrom(name: string): Buffer {
  const folder = join(starterFolder, name)
  const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as AdapterConfig
  return adapterFile(name, config, readSafetensors(readFileSync(join(folder, 'adapter_model.safetensors'))))
}

function write(name: string, bytes: Buffer): void {
  writeFileSync(join(starterFolder, name), bytes)
  tell(name)
}

/** A row of the model card. */
function tell(name: string): void {
  const hash = createHash('sha256')
    .update(readFileSync(join(starterFolder, name)))
    .digest('hex')
  process.stdout.write(`| \`${name}\` | \`${hash}\` |\n`)
}

if (import.meta.main) {
  const [out] = process.argv.slice(2)
  if (out !== undefined) write('paddock-starter.gguf', modelFrom(out))
  else
    for (const name of adapterNames()) {
      write(`${name}/${name}.gguf`, adapterFrom(name))
      tell(`${name}/adapter_model.safetensors`)
    }
}
