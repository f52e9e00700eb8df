/**
 * Fields that vLLM gets beyond the common ones. Of its own (entrypoints/openai/*\/protocol.py, 0.27) these are left out:
 * `cache_salt`, `kv_transfer_params`, `vllm_xargs`, `logits_processors` (code), `chat_template`, `mm_processor_kwargs`,
 * `media_io_kwargs`, `priority`, `request_id`, `use_beam_search`, `documents`, `guided_*` (gone since 0.12).
 */
import { allowing, commonFields, commonMembers, type FieldLists, type MemberLists } from '../contract.fields.ts'

const sampling = [
  'stop_token_ids include_stop_str_in_output min_tokens length_penalty skip_special_tokens',
  'spaces_between_special_tokens truncate_prompt_tokens prompt_logprobs allowed_token_ids bad_words',
  'return_token_ids return_tokens_as_token_ids structured_outputs add_special_tokens',
].join(' ')

const fields: FieldLists = {
  'chat/completions': `${sampling} add_generation_prompt continue_final_message echo include_reasoning thinking_token_budget chat_template_kwargs`,
  completions: sampling,
  embeddings: 'truncate_prompt_tokens add_special_tokens',
  rerank: 'truncate_prompt_tokens',
  responses: 'min_tokens include_stop_str_in_output skip_special_tokens structured_outputs',
}

const members: MemberLists = {
  structured_outputs: 'json regex choice grammar json_object structural_tag disable_any_whitespace whitespace_pattern',
  // What templates are told, never a template.
  chat_template_kwargs: 'enable_thinking thinking thinking_budget reasoning_effort',
  response_format: 'structural_tag structures triggers format',
}

export const vllmRefusedField = allowing([commonFields, fields], [commonMembers, members])
