/**
 * Fields that SGLang gets beyond the common ones. Of its own (srt/entrypoints/openai/protocol.py, 0.5.16) these are left
 * out: `lora_path` (adapters by path), `bootstrap_host`, `bootstrap_port`, `bootstrap_room` (hosts to connect to), `rid`,
 * `session_params`, `extra_key`, `cache_salt`, `priority`, `custom_logit_processor` (code), `custom_params`,
 * `return_hidden_states`, `data_parallel_rank`, `chat_template`.
 */
import { allowing, commonFields, commonMembers, type FieldLists, type MemberLists } from '../contract.fields.ts'

const sampling = 'stop_token_ids min_tokens no_stop_trim skip_special_tokens regex ebnf json_schema'

const fields: FieldLists = {
  'chat/completions': `${sampling} continue_final_message separate_reasoning stream_reasoning chat_template_kwargs`,
  completions: sampling,
}

const members: MemberLists = {
  chat_template_kwargs: 'enable_thinking thinking thinking_budget reasoning_effort',
  response_format: 'structures triggers format',
}

export const sglangRefusedField = allowing([commonFields, fields], [commonMembers, members])
