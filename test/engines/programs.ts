/** Puts the simulated engines on a PATH of a test's own, as programs that every account can run. */
import { chmodSync, cpSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { writeTestModel } from '../../src/engines/llamacpp/worker/testing-model.ts'
import { placeReadable } from '../../src/runtime/isolation.ts'

/** Below `root`, which others may pass through. Gives the PATH that has them first. */
export function placePrograms(root: string): string {
  const folder = join(root, 'programs')
  const own = join(folder, 'simulated')
  mkdirSync(folder, { mode: 0o755 })
  cpSync(join(import.meta.dirname, 'simulated'), own, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const node = placeReadable(realpathSync(process.execPath), join(folder, 'node'))
  for (const name of ['vllm', 'sglang', 'llama-server']) {
    const path = join(folder, name)
    // `exec`: the process that is asked to stop is the engine itself.
    writeFileSync(
      path,
      `#!/bin/sh\nexec '${node}' --disable-warning=ExperimentalWarning '${join(own, `${name}.ts`)}' "$@"\n`,
    )
    chmodSync(path, 0o755)
  }
  return `${folder}${delimiter}${process.env.PATH ?? ''}`
}

/** A model that nobody can load but the simulated engines. `over`: how they behave with it. */
export function placeModel(folder: string, over: object = {}): string {
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    num_hidden_layers: 2,
    num_attention_heads: 4,
    hidden_size: 64,
    max_position_embeddings: 4096,
    torch_dtype: 'bfloat16',
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config), { mode: 0o644 })
  writeFileSync(join(folder, 'simulated.json'), JSON.stringify(over), { mode: 0o644 })
  writeFileSync(join(folder, 'model.safetensors'), 'no weights', { mode: 0o644 })
  return folder
}

/** As GGUF: the header of the starter, which llama-server's stand-in takes its behaviour from. */
export function placeGguf(folder: string, over: object = {}): string {
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  return writeTestModel(join(folder, 'model.gguf'), { simulated: JSON.stringify(over) })
}
