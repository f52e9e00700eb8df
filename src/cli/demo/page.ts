/** The first and the last words of the demo. Pure. */
import { sep } from 'node:path'
import { homeFolder } from '../../runtime/environment.ts'
import type { Paint } from '../deployment-text.ts'
import type { Place } from './place.ts'
import { demoName } from './talk.ts'

export function opening(paint: Paint): string[] {
  return [
    paint('bold', 'Paddock: a private LLM endpoint on this machine'),
    'The hardware is emulated: an H100 slot stands for a share of this machine’s CPU. The model is a tiny one, trained',
    'for this: it knows a little about Paddock and nothing else.',
    '',
  ]
}

interface Next {
  url: string
  place: Place
  key: string
  usualPort: number
  paint: Paint
}

/** Commands that work as they are when pasted into a shell in the folder of this program. */
export function nextSteps({ url, place, key, usualPort, paint }: Next): string[] {
  const { port } = new URL(url)
  const folder = shellWord(shortened(place.folder))
  const where = `--data ${folder}${Number(port) === usualPort ? '' : ` --port ${port}`}`
  return [
    `  ${paint('bold', 'API')}           ${url}/v1 (OpenAI), ${url}/api/v1/public`,
    `  ${paint('bold', 'Reference')}     ${url}/docs/api`,
    `  ${paint('bold', 'Operator key')}  ${key}`,
    `                kept in ${place.folder}${sep}operator-key`,
    '',
    `  ${paint('bold', 'Try next')}, in another terminal:`,
    `    npx paddock ls ${where}`,
    `    npx paddock chat ${demoName} "Hello" --stats ${where}`,
    `    curl ${url}/v1/chat/completions -H "Authorization: Bearer $(cat ${folder}/operator-key)" \\`,
    `      -H 'Content-Type: application/json' -d '{"model":"${demoName}","messages":[{"role":"user","content":"Hello"}],"max_tokens":32}'`,
    '',
    '  Ctrl-C stops everything.',
  ]
}

/** "~/…" for what is in the home folder. */
function shortened(path: string): string {
  const home = homeFolder()
  return path.startsWith(home + sep) ? `~${path.slice(home.length)}` : path
}

/** Quoted for a shell when it must be; a leading ~ stays open for it to expand. */
export function shellWord(text: string): string {
  const [, home = '', rest = ''] = /^(~\/)?(.*)$/s.exec(text) ?? []
  return /^[A-Za-z0-9_./@%+=:,-]+$/.test(rest) ? text : `${home}'${rest.replaceAll("'", `'\\''`)}'`
}
