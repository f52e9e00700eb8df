/**
 * What a token says, as bytes. llama.cpp's own detokenizer works on whole texts and tidies spaces, which cannot be
 * streamed; here every token has its bytes once and for all, and text is their concatenation. Control tokens say
 * nothing. Rules after llama.cpp's token_to_piece.
 */
export interface TokenText {
  /** As it stands in the vocabulary. */
  text: string
  attributes: number
}

/** llama.cpp's vocabulary types that a chat model can have. */
export const vocabularyType = { sentencePiece: 1, bytePairs: 2, unigram: 4 } as const

const attribute = { unknown: 1, control: 8, userDefined: 16, byte: 32 } as const
const nothing = new Uint8Array(0)
const encoder = new TextEncoder()

/** Null: this kind of vocabulary is not known here, ask llama.cpp. `spaceMark`: "▁" stands for a space. */
export function pieceBytes(token: TokenText, type: number, spaceMark: boolean): Uint8Array | null {
  if (token.attributes & (attribute.control | attribute.unknown)) return nothing
  if (token.attributes & attribute.userDefined) return encoder.encode(spaceMark ? unmark(token.text) : token.text)
  if (token.attributes & attribute.byte) return byteToken(token.text)
  if (type === vocabularyType.sentencePiece || type === vocabularyType.unigram)
    return encoder.encode(unmark(token.text))
  if (type === vocabularyType.bytePairs) return fromByteCharacters(spaceMark ? unmark(token.text) : token.text)
  return null
}

export function isControl(attributes: number): boolean {
  return (attributes & attribute.control) !== 0
}

function unmark(text: string): string {
  return text.replaceAll('▁', ' ')
}

/** "<0x0A>" → one byte. */
function byteToken(text: string): Uint8Array {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)
  return match ? Uint8Array.of(Number.parseInt(match[1]!, 16)) : encoder.encode(text)
}

/** GPT-2 shows each byte as one printable character: itself where printable, else 256 and on in order. */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>()
  let next = 256
  for (let byte = 0; byte < 256; byte += 1) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    map.set(String.fromCodePoint(printable ? byte : next++), byte)
  }
  return map
})()

function fromByteCharacters(text: string): Uint8Array {
  const bytes: number[] = []
  for (const character of text) {
    const byte = byteOfCharacter.get(character)
    if (byte !== undefined) bytes.push(byte)
    else bytes.push(...encoder.encode(character))
  }
  return Uint8Array.from(bytes)
}
