/** JSON that is sent as it is: the server checks what is in it. */
import { readFile } from 'node:fs/promises'
import { usageFailure } from './failure.ts'

/** "-" is standard input. `hint`: where its form is shown. Throws Failure (usage). */
export async function readJson(path: string, hint: string): Promise<unknown> {
  const text = await textOf(path)
  try {
    return JSON.parse(text)
  } catch {
    throw usageFailure(`${path === '-' ? 'Standard input' : path} is not JSON.`, hint)
  }
}

async function textOf(path: string): Promise<string> {
  if (path !== '-') {
    return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw usageFailure(`${path} cannot be read: ${error.code ?? error.message}.`)
    })
  }
  const pieces: string[] = []
  process.stdin.setEncoding('utf8')
  for await (const piece of process.stdin) pieces.push(String(piece))
  return pieces.join('')
}
