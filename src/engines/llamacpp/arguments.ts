/** Arguments that a deployment may give llama-server itself: how it computes, not what it may reach. */
import { type ArgumentList, number, whole } from '../contract.arguments.ts'

const cacheTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1']
const layers = whole(0, 1_000)
const gpusMaximum = 16

export const serverArguments: ArgumentList = {
  engine: 'llama-server',
  allowed: {
    '--batch-size': { value: whole(1, 65_536) },
    '--ubatch-size': { value: whole(1, 65_536) },
    '--cache-type-k': { value: cacheTypes },
    '--cache-type-v': { value: cacheTypes },
    '--flash-attn': { value: ['on', 'off', 'auto'] },
    '--n-gpu-layers': { value: layersOnGpus },
    '--split-mode': { value: ['none', 'layer', 'row', 'tensor'] },
    '--tensor-split': { value: shares },
    '--rope-scaling': { value: ['none', 'linear', 'yarn'] },
    '--rope-scale': { value: number(0.01, 1_000) },
    '--no-mmap': { value: 'nothing' },
    '--mlock': { value: 'nothing' },
    '--jinja': { value: 'nothing' },
    '--embeddings': { value: 'nothing' },
    '--reranking': { value: 'nothing' },
    '--pooling': { value: ['none', 'mean', 'cls', 'last', 'rank'] },
  },
  own: {
    '--model': 'model_id',
    '--model-url': 'model_id',
    '--hf-repo': 'model_id',
    '--hf-file': 'model_id',
    '--ctx-size': 'engine.max_model_len',
    '--parallel': 'engine.max_num_seqs',
    '--lora': 'the deployment’s adapters',
    '--lora-scaled': 'the deployment’s adapters',
    '--lora-init-without-apply': 'the deployment’s adapters',
    '--host': 'the deployment itself',
    '--port': 'the deployment itself',
    '--alias': 'the deployment itself',
    '--api-key': 'the deployment itself',
    '--api-key-file': 'the deployment itself',
    '--metrics': 'the deployment itself',
    '--threads': '',
    '--device': '',
    '--slots': '',
    '--slot-save-path': '',
    '--media-path': '',
    '--path': '',
    '--tools': '',
    '--agent': '',
    '--mcp-servers-config': '',
    '--ui-mcp-proxy': '',
    '--models-dir': '',
    '--models-preset': '',
    '--log-file': '',
    '--log-prompts-dir': '',
    '--rpc': '',
    '--chat-template': '',
    '--chat-template-file': '',
    '--grammar-file': '',
  },
}

function layersOnGpus(value: string): string | null {
  if (value === 'auto' || value === 'all') return null
  return layers(value)?.replace('needs', 'needs auto, all or') ?? null
}

/** "3,1": how much of the model each GPU gets, in proportion. */
function shares(value: string): string | null {
  const parts = value.split(',')
  const fits = parts.length <= gpusMaximum && parts.every((part) => /^\d{1,6}(\.\d{1,3})?$/.test(part))
  return fits ? null : `needs a number for each of at most ${gpusMaximum} GPUs, with commas between.`
}
