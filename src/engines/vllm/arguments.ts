/** Arguments that a deployment may give vLLM itself, and those that the deployment's own fields set. */
import { type ArgumentList, number, whole } from '../contract.arguments.ts'
import type { FormNames } from '../contract.forms.ts'

const reasoningParsers = [
  'cohere_command3 cohere_command4 deepseek_r1 deepseek_v3 deepseek_v4 ernie45 gemma4 glm45 glm47 granite holo2',
  'hunyuan_a13b hy_v3 kimi_k2 mimo minimax_m2 minimax_m2_append_think mistral nemotron_v3 olmo3 openai_gptoss qwen3',
  'seed_oss step3 step3p5',
]
const toolParsers = [
  'deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 ernie45 functiongemma gemma4 gigachat3 glm45 glm47 granite',
  'granite-20b-fc granite4 hermes hunyuan_a13b internlm jamba kimi_k2 lfm2 llama3_json llama4_json llama4_pythonic',
  'longcat minimax_m2 mistral olmo3 openai phi4_mini_json pythonic qwen3_coder qwen3_xml seed_oss step3 step3p5 xlam',
]
const words = (lines: readonly string[]) => lines.join(' ').split(' ')

/** Llama 3 is told to write JSON, Llama 4 to write Python. */
export const vllmForms: FormNames = {
  toolCalls: {
    llama3: 'llama3_json',
    llama4: 'llama4_pythonic',
    hermes: 'hermes',
    mistral: 'mistral',
    deepseek_v3: 'deepseek_v3',
  },
  thoughts: { deepseek_r1: 'deepseek_r1', qwen3: 'qwen3' },
  withToolCalls: ['--enable-auto-tool-choice'],
}

export const vllmArguments: ArgumentList = {
  engine: 'vLLM',
  allowed: {
    '--gpu-memory-utilization': { value: number(0.05, 1) },
    '--max-num-batched-tokens': { value: whole(1, 1_048_576) },
    '--dtype': { value: ['auto', 'half', 'float16', 'bfloat16', 'float', 'float32'] },
    '--quantization': { value: words(['awq gptq fp8 fp8_per_tensor fp8_per_block compressed-tensors modelopt quark']) },
    '--kv-cache-dtype': { value: words(['auto bfloat16 fp8 fp8_e4m3 fp8_e5m2']) },
    '--block-size': { value: whole(1, 1_024) },
    '--seed': { value: whole(0, 4_294_967_295) },
    '--performance-mode': { value: ['balanced', 'interactivity', 'throughput'] },
    '--speculative-config': { value: speculationProblem },
    '--enable-prefix-caching': { value: 'nothing' },
    '--no-enable-prefix-caching': { value: 'nothing' },
    '--enable-chunked-prefill': { value: 'nothing' },
    '--no-enable-chunked-prefill': { value: 'nothing' },
    '--enforce-eager': { value: 'nothing' },
    '--enable-expert-parallel': { value: 'nothing' },
    '--disable-custom-all-reduce': { value: 'nothing' },
    '--cpu-offload-gb': { value: number(0, 10_000) },
    '--max-logprobs': { value: whole(-1, 1_000_000) },
    '--stream-interval': { value: whole(1, 10_000) },
    '--language-model-only': { value: 'nothing' },
    '--enable-auto-tool-choice': { value: 'nothing' },
    '--tool-call-parser': { value: words(toolParsers) },
    '--reasoning-parser': { value: words(reasoningParsers) },
    '--generation-config': { value: ['auto', 'vllm'] },
  },
  own: {
    '--model': 'model_id',
    '--revision': 'model_id',
    '--served-model-name': 'the deployment itself',
    '--host': 'the deployment itself',
    '--port': 'the deployment itself',
    '--api-key': 'the deployment itself',
    '--max-model-len': 'engine.max_model_len',
    '--max-num-seqs': 'engine.max_num_seqs',
    '--tensor-parallel-size': 'gpu_count',
    '--pipeline-parallel-size': 'gpu_count',
    '--data-parallel-size': 'replicas',
    '--enable-lora': 'the deployment’s adapters',
    '--lora-modules': 'the deployment’s adapters',
    '--max-loras': 'the deployment’s adapters',
    '--max-cpu-loras': 'the deployment’s adapters',
    '--max-lora-rank': 'the deployment’s adapters',
    '--api-server-count': 'the deployment itself',
    '--shutdown-timeout': 'the deployment itself',
    '--enable-prompt-tokens-details': 'the deployment itself',
    '--trust-remote-code': '',
    '--middleware': '',
    '--tool-parser-plugin': '',
    '--reasoning-parser-plugin': '',
    '--logits-processors': '',
    '--worker-cls': '',
    '--worker-extension-cls': '',
    '--scheduler-cls': '',
    '--io-processor-plugin': '',
    '--allowed-local-media-path': '',
    '--hf-config-path': '',
    '--hf-token': '',
    '--hf-overrides': '',
    '--download-dir': '',
    '--tool-server': '',
    '--log-config-file': '',
    '--kv-transfer-config': '',
    '--profiler-config': '',
    '--chat-template': '',
  },
}

/** Guessing by the prompt, or with the model's own heads. Other ways would load weights that nobody has checked. */
const methods = new Set<unknown>(['ngram', 'ngram_gpu', 'mtp', 'suffix'])
const numbers = ['num_speculative_tokens', 'prompt_lookup_max', 'prompt_lookup_min']
const guessedTokensMaximum = 32

function speculationProblem(value: string): string | null {
  let config: unknown
  try {
    config = JSON.parse(value)
  } catch {
    return 'needs a JSON object after it.'
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return 'needs a JSON object after it.'
  for (const [member, given] of Object.entries(config)) {
    if (member === 'method') {
      if (!methods.has(given)) return `takes the methods ${[...methods].join(', ')}.`
    } else if (!numbers.includes(member)) {
      return `takes no "${member.slice(0, 40)}"; it takes method, ${numbers.join(', ')}.`
    } else if (!Number.isInteger(given) || Number(given) < 1 || Number(given) > guessedTokensMaximum) {
      return `takes a whole number from 1 to ${guessedTokensMaximum} for ${member}.`
    }
  }
  return 'method' in config ? null : 'needs a method.'
}
