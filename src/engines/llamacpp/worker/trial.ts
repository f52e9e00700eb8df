/**
 * Whether llama.cpp can load a file at all, tried in a process of its own: hostile files may crash it. One line of JSON
 * says what came of it: {"ok": true}, {"ok": false, "why"}, or {"skipped": why} where there is no llama.cpp.
 * Small files are loaded whole and compute a token. Of large ones only the weights' data stay unread: llama.cpp begins
 * with them after it has checked everything else.
 */
import { statSync, writeSync } from 'node:fs'
import { loadEngine } from './load.ts'
import { loadNative } from './native.ts'

/** Of a file that is loaded whole. */
const wholeBytesMaximum = 512 * 1024 * 1024
const contextTokens = 256

function say(result: object): never {
  writeSync(1, `${JSON.stringify(result)}\n`)
  process.exit(0)
}

const [model = ''] = process.argv.slice(2)
await loadNative(() => {}).catch((error: Error) => say({ skipped: error.message }))
const isWhole = statSync(model).size <= wholeBytesMaximum
const options = {
  model,
  host: '',
  port: 0,
  servedName: '',
  contextTokens,
  sequences: 1,
  threads: 1,
  adapterSets: 0,
  cacheTypeK: null,
  cacheTypeV: null,
  dieWithStdin: false,
}
await loadEngine(options, {
  phase: (phase) => {
    if (phase === 'load' && !isWhole) say({ ok: true })
  },
  broken: (why) => say({ ok: false, why }),
}).then(
  () => say({ ok: true }),
  (error: Error) => say({ ok: false, why: error.message }),
)
