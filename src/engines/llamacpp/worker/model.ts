/** A loaded model: text to tokens and back, its chat template, its ends, samplers and grammars. */
import { Fault } from '../../../kernel/fault.ts'
import { type ChatMessage, type ChatTemplate, ControlTexts, chatMlTemplate, renderChat } from './chat-template.ts'
import type { ModelHeader } from './model-header.ts'
import type { Native, NativeModel, NativeSampler, SamplerConfig, Token } from './native.ts'
import { isControl, pieceBytes } from './pieces.ts'

const typeControl = 3
const grammarsKept = 32
const templateComplaintCharacters = 200

export class Model {
  readonly native: Native
  readonly handle: NativeModel
  /** Tokens that end an answer. */
  readonly ends: ReadonlySet<Token>
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
    const renderer = new native.AddonJinjaRenderer(header.chatTemplate ?? chatMlTemplate)
    this.#template = {
      render: (input) => renderer.render(input),
      bosText: tokenText(handle, handle.tokenBos()),
      eosText: tokenText(handle, handle.tokenEos()),
    }
  }

  /** Throws Fault `invalid_request` when the template refuses the messages (e.g. roles out of order). */
  tokensOfChat(messages: readonly ChatMessage[]): Uint32Array {
    let pieces: string[]
    try {
      pieces = renderChat(this.#template, messages, this.#controls)
    } catch (error) {
      const complaint = String((error as Error).message).slice(0, templateComplaintCharacters)
      throw new Fault('invalid_request', `The model's chat template refuses these messages: ${complaint}`, {
        detail: { param: 'messages' },
      })
    }
    return this.#tokens(pieces)
  }

  /** The text as the client wrote it, control tokens included: a raw prompt is the client's own business. */
  tokensOfText(text: string): Uint32Array {
    return this.#tokens([text])
  }

  /** The bytes that a token says; empty for control tokens. */
  bytesOf(token: Token): Uint8Array {
    let bytes = this.#pieces.get(token)
    if (!bytes) {
      const text = this.handle.getTokenString(token) ?? ''
      const attributes = this.handle.getTokenAttributes(token)
      bytes =
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
  grammarState(grammar: string): object {
    let parsed = this.#grammars.get(grammar)
    if (!parsed) {
      try {
        parsed = new this.native.AddonGrammar(grammar, { addonExports: this.native })
      } catch {
        throw new Fault('engine_unsupported', 'This JSON schema cannot be turned into a grammar (does it recurse?).', {
          detail: { param: 'response_format' },
        })
      }
      if (this.#grammars.size >= grammarsKept) this.#grammars.delete(this.#grammars.keys().next().value!)
      this.#grammars.set(grammar, parsed)
    }
    return new this.native.AddonGrammarEvaluationState(this.handle, parsed)
  }

  #tokens(pieces: readonly string[]): Uint32Array {
    const tokens = pieces.flatMap((piece) => [...this.handle.tokenize(piece, true)])
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
