/**
 * Which architectures which engine runs. Names as models carry them: `architectures[0]` of a config.json for safetensors
 * (vLLM's model_executor/models/registry.py, SGLang's srt/models), `general.architecture` for GGUF (llama.cpp's
 * llama-arch.cpp). Only what generates text; engines learn new ones with every release, and a name that is missing here is
 * one line. Data.
 */

/** Both vLLM and SGLang run these. */
const textOfBoth = [
  'AfmoeForCausalLM',
  'ApertusForCausalLM',
  'ArceeForCausalLM',
  'BaichuanForCausalLM',
  'BailingMoeForCausalLM',
  'BailingMoeV2ForCausalLM',
  'ChatGLMModel',
  'CohereForCausalLM',
  'Cohere2ForCausalLM',
  'DbrxForCausalLM',
  'DeciLMForCausalLM',
  'DeepseekForCausalLM',
  'DeepseekV2ForCausalLM',
  'DeepseekV3ForCausalLM',
  'DeepseekV32ForCausalLM',
  'Ernie4_5ForCausalLM',
  'Ernie4_5_MoeForCausalLM',
  'ExaoneForCausalLM',
  'FalconH1ForCausalLM',
  'GemmaForCausalLM',
  'Gemma2ForCausalLM',
  'Gemma3ForCausalLM',
  'Glm4ForCausalLM',
  'Glm4MoeForCausalLM',
  'GPT2LMHeadModel',
  'GPTBigCodeForCausalLM',
  'GptOssForCausalLM',
  'GraniteForCausalLM',
  'GraniteMoeForCausalLM',
  'HunYuanDenseV1ForCausalLM',
  'HunYuanMoEV1ForCausalLM',
  'InternLM2ForCausalLM',
  'KimiLinearForCausalLM',
  'Llama4ForCausalLM',
  'LlamaForCausalLM',
  'LongcatFlashForCausalLM',
  'MiMoForCausalLM',
  'MiniCPMForCausalLM',
  'MiniCPM3ForCausalLM',
  'MiniMaxM2ForCausalLM',
  'MistralForCausalLM',
  'MixtralForCausalLM',
  'NemotronHForCausalLM',
  'OlmoForCausalLM',
  'Olmo2ForCausalLM',
  'Olmo3ForCausalLM',
  'OlmoeForCausalLM',
  'OPTForCausalLM',
  'OrionForCausalLM',
  'PersimmonForCausalLM',
  'PhiForCausalLM',
  'Phi3ForCausalLM',
  'PhiMoEForCausalLM',
  'QWenLMHeadModel',
  'Qwen2ForCausalLM',
  'Qwen2MoeForCausalLM',
  'Qwen3ForCausalLM',
  'Qwen3MoeForCausalLM',
  'Qwen3NextForCausalLM',
  'SeedOssForCausalLM',
  'SolarForCausalLM',
  'StableLmForCausalLM',
  'Starcoder2ForCausalLM',
  'XverseForCausalLM',
]
const textOfVllm = [
  'AquilaForCausalLM',
  'AquilaModel',
  'ArcticForCausalLM',
  'BaiChuanForCausalLM',
  'BambaForCausalLM',
  'BloomForCausalLM',
  'CwmForCausalLM',
  'Dots1ForCausalLM',
  'Exaone4ForCausalLM',
  'FalconForCausalLM',
  'FalconMambaForCausalLM',
  'FlexOlmoForCausalLM',
  'GlmForCausalLM',
  'GPTJForCausalLM',
  'GPTNeoXForCausalLM',
  'GraniteMoeHybridForCausalLM',
  'GraniteMoeSharedForCausalLM',
  'Grok1ModelForCausalLM',
  'InternLMForCausalLM',
  'InternLM3ForCausalLM',
  'JAISLMHeadModel',
  'JambaForCausalLM',
  'Lfm2ForCausalLM',
  'Lfm2MoeForCausalLM',
  'Mamba2ForCausalLM',
  'MambaForCausalLM',
  'MiniMaxForCausalLM',
  'MiniMaxM1ForCausalLM',
  'MiniMaxText01ForCausalLM',
  'MistralLarge3ForCausalLM',
  'MPTForCausalLM',
  'MptForCausalLM',
  'NemotronForCausalLM',
  'OuroForCausalLM',
  'PanguEmbeddedForCausalLM',
  'PanguUltraMoEForCausalLM',
  'Plamo2ForCausalLM',
  'Plamo3ForCausalLM',
  'RWForCausalLM',
  'StableLMEpochForCausalLM',
  'Step3TextForCausalLM',
  'TeleChat2ForCausalLM',
  'TeleFLMForCausalLM',
  'Zamba2ForCausalLM',
]
/** They see pictures as well. Both run them. */
const seeingOfBoth = [
  'DeepseekVLV2ForCausalLM',
  'DotsOCRForCausalLM',
  'Gemma3ForConditionalGeneration',
  'Gemma3nForConditionalGeneration',
  'Glm4vForConditionalGeneration',
  'Glm4vMoeForConditionalGeneration',
  'InternS1ForConditionalGeneration',
  'InternVLChatModel',
  'KimiVLForConditionalGeneration',
  'Llama4ForConditionalGeneration',
  'LlavaForConditionalGeneration',
  'LlavaNextForConditionalGeneration',
  'LlavaOnevisionForConditionalGeneration',
  'MiniCPMO',
  'MiniCPMV',
  'Mistral3ForConditionalGeneration',
  'Phi4MMForCausalLM',
  'PixtralForConditionalGeneration',
  'Qwen2VLForConditionalGeneration',
  'Qwen2_5_VLForConditionalGeneration',
  'Qwen3VLForConditionalGeneration',
  'Qwen3VLMoeForConditionalGeneration',
  'Step3VLForConditionalGeneration',
]
const seeingOfVllm = [
  'AriaForConditionalGeneration',
  'AyaVisionForConditionalGeneration',
  'Blip2ForConditionalGeneration',
  'ChameleonForConditionalGeneration',
  'Cohere2VisionForConditionalGeneration',
  'DeepseekOCRForCausalLM',
  'Ernie4_5_VLMoeForConditionalGeneration',
  'FuyuForCausalLM',
  'GLM4VForCausalLM',
  'HunYuanVLForConditionalGeneration',
  'Idefics3ForConditionalGeneration',
  'InternVLForConditionalGeneration',
  'KeyeForConditionalGeneration',
  'LlavaNextVideoForConditionalGeneration',
  'MolmoForCausalLM',
  'Ovis2_5',
  'PaliGemmaForConditionalGeneration',
  'Phi3VForCausalLM',
  'SmolVLMForConditionalGeneration',
]
const seeingOfSglang = ['MllamaForConditionalGeneration']

export const vllmArchitectures: readonly string[] = [...textOfBoth, ...textOfVllm, ...seeingOfBoth, ...seeingOfVllm]
export const sglangArchitectures: readonly string[] = [...textOfBoth, ...seeingOfBoth, ...seeingOfSglang]
export const seeingArchitectures: ReadonlySet<string> = new Set([...seeingOfBoth, ...seeingOfVllm, ...seeingOfSglang])

export const llamacppArchitectures: readonly string[] = (
  'afmoe apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chatglm codeshell cogvlm cohere2 command-r ' +
  'dbrx deci deepseek deepseek2 dots1 ernie4_5 ernie4_5-moe exaone exaone4 falcon falcon-h1 gemma gemma2 gemma3 gemma3n ' +
  'gemma4 glm4 glm4moe gpt-oss gpt2 gptneox granite granitehybrid granitemoe grok grovemoe hunyuan-dense hunyuan-moe ' +
  'internlm2 jais jamba kimi-linear lfm2 lfm2moe llama llama4 maincoder mamba mamba2 mimo2 minicpm minicpm3 minimax-m2 ' +
  'mistral3 mpt nemotron nemotron_h nemotron_h_moe olmo olmo2 olmoe openelm orion pangu-embedded phi2 phi3 phimoe plamo ' +
  'plamo2 plamo3 plm qwen qwen2 qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3vl qwen3vlmoe refact ' +
  'rwkv6 rwkv6qwen2 rwkv7 seed_oss smallthinker smollm3 stablelm starcoder starcoder2 xverse'
).split(' ')

/** They embed and do not talk: refused for chat, good for `llama-server --embeddings`. */
export const embeddingArchitectures: ReadonlySet<string> = new Set(
  'bert eurobert gemma-embedding jina-bert-v2 jina-bert-v3 llama-embed modern-bert neo-bert nomic-bert nomic-bert-moe'.split(
    ' ',
  ),
)
