import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { pieceBytes, vocabularyType } from './pieces.ts'

const said = (text: string, attributes: number, type: number, spaceMark = true) => {
  const bytes = pieceBytes({ text, attributes }, type, spaceMark)
  return bytes === null ? null : Buffer.from(bytes).toString('utf8')
}
const [normal, control, userDefined, byte] = [4, 8, 16, 32]

test('SentencePiece: marks are spaces, byte tokens are bytes', () => {
  assert.equal(said('▁the▁end', normal, vocabularyType.sentencePiece), ' the end')
  assert.deepEqual([...pieceBytes({ text: '<0xC3>', attributes: byte }, vocabularyType.sentencePiece, true)!], [0xc3])
})

test('byte pairs: every character is a byte', () => {
  assert.equal(said('Ġthe', normal, vocabularyType.bytePairs, false), ' the')
  assert.equal(said('cafÃ©Ċ', normal, vocabularyType.bytePairs, false), 'café\n')
  assert.equal(said('▁x', normal, vocabularyType.bytePairs, false), '▁x')
})

test('control tokens say nothing, those that the model’s makers added say themselves', () => {
  for (const type of Object.values(vocabularyType)) assert.equal(said('<|im_end|>', control, type), '')
  assert.equal(said('<think>', userDefined, vocabularyType.bytePairs, false), '<think>')
  assert.equal(said('x', normal, 3), null)
})
