/** A loaded model: text to tokens and back, its chat template, its ends, samplers and grammars. */
import { Fault } from '../../../kernel/fault.ts'
import {
  type ChatMessage,
  type ChatSetting,
  type ChatTemplate,
  ControlTexts,
  chatMlTemplate,
  renderChat,
} from './chat-template.ts'
import type { ModelHeader } from './model-header.ts'
import type { Native, NativeModel, NativeSampler, SamplerConfig, Token } from './native.ts'
import { isControl, pieceBytes } from './pieces.ts'
import { wrong } from './request.ts'
import { canShorten } from './shortened-vector.ts'
import { beginsInside, type ThinkTags, thinkTagsOf } from './thoughts.ts'
import { type ToolForm, toolFormOf } from './tool-form.ts'

const typeControl = 3
const grammarsKept = 32
const templateComplaintCharacters = 200

export class Model {
  readonly native: Native
  readonly handle: NativeModel
  /** Tokens that end an answer. */
  readonly ends: ReadonlySet<Token>
  /** Around its thoughts; null = it does not think. */
  readonly thinkTags: ThinkTags | null
  readonly toolForm: ToolForm
  /** How its header says that an embedding is made of its tokens'; 0 = not at all. */
  readonly poolingType: number
  /** It was trained for vectors of fewer numbers too. */
  readonly shortensVectors: boolean
  /** 0 = the file does not say. */
  readonly vocabularySize: number
  /** Control tokens that are parts of answers: tags. */
  readonly #tags: ReadonlySet<string>
  readonly #vocabularyType: number
  readonly #spaceMark: boolean
  readonly #pieces = new Map<Token, Uint8Array>()
  readonly #grammars = new Map<string, object>()
  readonly #template: ChatTemplate
  readonly #controls: ControlTexts

  /** Throws Error when the chat template cannot be parsed. */
  constructor(native: Native, handle: NativeModel, header: ModelHeader) {
    this.native = native
    this.handle = handle
    this.#vocabularyType = handle.getVocabularyType()
    this.#spaceMark = header.tokenizer !== 'gpt2'
    const controls = controlTokens(handle, header.tokenTypes)
    this.ends = new Set(controls.filter((token) => handle.isEogToken(token)))
    this.#controls = new ControlTexts(controls.map((token) => handle.getTokenString(token) ?? ''))
    const template = header.chatTemplate ?? chatMlTemplate
    const renderer = new native.AddonJinjaRenderer(template)
    this.thinkTags = thinkTagsOf(template)
    this.toolForm = toolFormOf(template)
    this.poolingType = header.poolingType
    this.shortensVectors = canShorten(header.names)
    this.vocabularySize = header.tokenTypes.length
    const { open, close } = this.toolForm
    this.#tags = new Set([this.thinkTags?.open ?? '', this.thinkTags?.close ?? '', open, close])
    this.#template = {
      render: (input) => renderer.render(input),
      bosText: tokenText(handle, handle.tokenBos()),
      eosText: tokenText(handle, handle.tokenEos()),
    }
  }

  /**
   * `thinks`: the prompt opens thoughts, the answer begins inside them. Throws Fault `invalid_request` when the template
   * refuses the messages (e.g. roles out of order).
   */
  tokensOfChat(messages: readonly ChatMessage[], setting?: ChatSetting): { tokens: Uint32Array; thinks: boolean } {
    let pieces: string[]
    try {
      pieces = renderChat(this.#template, messages, this.#controls, setting)
    } catch (error) {
      const complaint = String((error as Error).message).slice(0, templateComplaintCharacters)
      throw new Fault('invalid_request', `The model's chat template refuses these messages: ${complaint}`, {
        detail: { param: 'messages' },
      })
    }
    const thinks = this.thinkTags !== null && beginsInside(pieces.join(''), this.thinkTags)
    return { tokens: this.#tokens(pieces), thinks }
  }

  /** The text as the client wrote it, control tokens included: a raw prompt is the client's own business. */
  tokensOfText(text: string): Uint32Array {
    return this.#tokens([text])
  }

  /** Tokens as the client counted them out, and nothing around them. Throws Fault `invalid_request`. */
  tokensGiven(ids: readonly number[], param: string): Uint32Array {
    const foreign = ids.find((id) => id >= this.vocabularySize)
    if (foreign !== undefined)
      throw wrong(param, `${param} holds the token ${foreign}; this model knows 0 to ${this.vocabularySize - 1}.`)
    return Uint32Array.from(ids)
  }

  /** Of a text as text. */
  countTokens(text: string): number {
    return this.handle.tokenize(text, false).length
  }

  /** A text as embedding models were trained to read it: text alone, with their ends around it. */
  tokensToEmbed(text: string): Uint32Array {
    const tokens = this.#tokens([text], false)
    const eos = this.handle.tokenEos()
    const isEnded = !this.handle.shouldAppendEosToken() || eos < 0 || tokens.at(-1) === eos
    return isEnded ? tokens : Uint32Array.from([...tokens, eos])
  }

  /** The bytes that a token says; empty for control tokens other than tags. */
  bytesOf(token: Token): Uint8Array {
    let bytes = this.#pieces.get(token)
    if (!bytes) {
      const text = this.handle.getTokenString(token) ?? ''
      const attributes = this.handle.getTokenAttributes(token)
      bytes =
        (this.#tags.has(text) ? new TextEncoder().encode(text) : null) ??
        pieceBytes({ text, attributes }, this.#vocabularyType, this.#spaceMark) ??
        new TextEncoder().encode(this.handle.detokenize(Uint32Array.of(token), false))
      this.#pieces.set(token, bytes)
    }
    return bytes
  }

  sampler(config: SamplerConfig): NativeSampler {
    const sampler = new this.native.AddonSampler(this.handle)
    sampler.applyConfig(config)
    return sampler
  }

  /** A fresh state of a grammar in GBNF. Throws Fault `engine_unsupported` when llama.cpp cannot use it. */
  grammarState(grammar: string, param = 'response_format'): object {
    let parsed = this.#grammars.get(grammar)
    if (!parsed) {
      try {
        parsed = new this.native.AddonGrammar(grammar, { addonExports: this.native })
      } catch {
        throw new Fault('engine_unsupported', 'This JSON schema cannot be turned into a grammar (does it recurse?).', {
          detail: { param },
        })
      }
      if (this.#grammars.size >= grammarsKept) this.#grammars.delete(this.#grammars.keys().next().value!)
      this.#grammars.set(grammar, parsed)
    }
    return new this.native.AddonGrammarEvaluationState(this.handle, parsed)
  }

  /** The state of a grammar once this was said; null where that does not fit. */
  grammarStateAfter(grammar: string, said: string): object | null {
    const state = this.grammarState(grammar)
    const { AddonSampler } = this.native
    for (const token of said === '' ? [] : this.handle.tokenize(said, false)) {
      if (!AddonSampler.canBeNextTokenForGrammarEvaluationState(state, token)) return null
      AddonSampler.acceptGrammarEvaluationStateToken(state, token)
    }
    return state
  }

  #tokens(pieces: readonly string[], controls = true): Uint32Array {
    const tokens = pieces.flatMap((piece) => [...this.handle.tokenize(piece, controls)])
    const bos = this.handle.tokenBos()
    if (this.handle.shouldPrependBosToken() && bos >= 0 && tokens[0] !== bos) tokens.unshift(bos)
    return Uint32Array.from(tokens)
  }
}

function controlTokens(handle: NativeModel, types: Int32Array): Token[] {
  const tokens = new Set<Token>([handle.tokenEos(), handle.eotToken()].filter((token) => token >= 0))
  types.forEach((type, token) => {
    if (type === typeControl) tokens.add(token)
  })
  return [...tokens].filter((token) => isControl(handle.getTokenAttributes(token)) || handle.isEogToken(token))
}

function tokenText(handle: NativeModel, token: Token): string {
  return token < 0 ? '' : (handle.getTokenString(token) ?? '')
}
