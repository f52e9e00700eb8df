/** Arguments that a deployment may give SGLang itself, and those that the deployment's own fields set. */
import { type ArgumentList, number, whole } from '../contract.arguments.ts'
import type { FormNames } from '../contract.forms.ts'

const toolParsers = [
  'deepseekv3 deepseekv31 deepseekv32 gemma4 gigachat3 glm glm45 glm47 gpt-oss hermes interns1 kimi_k2 lfm2 llama3',
  'mimo minimax-m2 mistral pythonic qwen qwen25 qwen3_coder step3 step3p5 trinity',
]
const reasoningParsers = [
  'deepseek-r1 deepseek-v3 glm45 gpt-oss interns1 kimi kimi_k2 mimo minimax minimax-append-think mistral nemotron_3',
  'qwen3 qwen3-thinking step3 step3p5',
]
const words = (lines: readonly string[]) => lines.join(' ').split(' ')

export const sglangForms: FormNames = {
  toolCalls: { llama3: 'llama3', llama4: 'pythonic', hermes: 'hermes', mistral: 'mistral', deepseek_v3: 'deepseekv3' },
  thoughts: { deepseek_r1: 'deepseek-r1', qwen3: 'qwen3' },
  withToolCalls: [],
}

export const sglangArguments: ArgumentList = {
  engine: 'SGLang',
  allowed: {
    '--mem-fraction-static': { value: number(0.05, 0.99) },
    '--max-prefill-tokens': { value: whole(1, 1_048_576) },
    '--chunked-prefill-size': { value: whole(-1, 1_048_576) },
    '--max-total-tokens': { value: whole(1, 1_000_000_000) },
    '--max-queued-requests': { value: whole(1, 1_000_000) },
    '--schedule-policy': { value: ['lpm', 'fcfs', 'lof', 'random', 'dfs-weight'] },
    '--schedule-conservativeness': { value: number(0, 100) },
    '--dtype': { value: ['auto', 'half', 'float16', 'bfloat16', 'float', 'float32'] },
    '--quantization': {
      value: words(['awq fp8 gptq marlin gptq_marlin awq_marlin w8a8_int8 w8a8_fp8 compressed-tensors modelopt']),
    },
    '--kv-cache-dtype': { value: ['auto', 'fp8_e5m2', 'fp8_e4m3', 'bf16', 'bfloat16'] },
    '--page-size': { value: whole(1, 1_024) },
    '--random-seed': { value: whole(0, 4_294_967_295) },
    '--speculative-algorithm': { value: ['NGRAM', 'NEXTN'] },
    '--speculative-num-steps': { value: whole(1, 64) },
    '--speculative-eagle-topk': { value: whole(1, 64) },
    '--speculative-num-draft-tokens': { value: whole(1, 256) },
    '--disable-radix-cache': { value: 'nothing' },
    '--disable-overlap-schedule': { value: 'nothing' },
    '--disable-cuda-graph': { value: 'nothing' },
    '--cuda-graph-max-bs': { value: whole(1, 4_096), until: '0.5.23' },
    '--disable-custom-all-reduce': { value: 'nothing' },
    '--enable-mixed-chunk': { value: 'nothing' },
    '--enable-torch-compile': { value: 'nothing' },
    '--stream-interval': { value: whole(1, 10_000) },
    '--tool-call-parser': { value: words(toolParsers) },
    '--reasoning-parser': { value: words(reasoningParsers) },
    '--grammar-backend': { value: ['xgrammar', 'outlines', 'llguidance', 'none'] },
    '--attention-backend': {
      value: words(['fa3 flashinfer triton torch_native aiter flashmla trtllm_mha trtllm_mla']),
    },
    '--sampling-defaults': { value: ['model', 'openai'] },
  },
  own: {
    '--model-path': 'model_id',
    '--model': 'model_id',
    '--revision': 'model_id',
    '--tokenizer-path': 'model_id',
    '--served-model-name': 'the deployment itself',
    '--host': 'the deployment itself',
    '--port': 'the deployment itself',
    '--api-key': 'the deployment itself',
    '--admin-api-key': 'the deployment itself',
    '--context-length': 'engine.max_model_len',
    '--max-running-requests': 'engine.max_num_seqs',
    '--tp-size': 'gpu_count',
    '--tensor-parallel-size': 'gpu_count',
    '--pp-size': 'gpu_count',
    '--dp-size': 'replicas',
    '--enable-lora': 'the deployment’s adapters',
    '--lora-paths': 'the deployment’s adapters',
    '--lora-target-modules': 'the deployment’s adapters',
    '--max-lora-rank': 'the deployment’s adapters',
    '--max-loras-per-batch': 'the deployment’s adapters',
    '--max-loaded-loras': 'the deployment’s adapters',
    '--enable-metrics': 'the deployment itself',
    '--enable-cache-report': 'the deployment itself',
    '--trust-remote-code': '',
    '--speculative-draft-model-path': '',
    '--file-storage-path': '',
    '--crash-dump-folder': '',
    '--json-model-override-args': '',
    '--dist-init-addr': '',
    '--nnodes': '',
    '--base-gpu-id': '',
    '--download-dir': '',
    '--chat-template': '',
    '--tool-server': '',
    '--log-requests': '',
    '--enable-custom-logit-processor': '',
  },
}
