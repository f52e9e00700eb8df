/**
 * Where a command writes. People get text on stdout and remarks on stderr; with `--json` stdout gets exactly one JSON
 * document and stderr nothing but an error document.
 */
import { styleText } from 'node:util'
import { type Failure, failureDocument, failureText } from './failure.ts'

export type Colour = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan'

export interface Screen {
  readonly json: boolean
  /** Stdout is a terminal and somebody watches it. */
  readonly live: boolean
  /** Columns of the terminal; null when stdout is none. */
  readonly columns: number | null
  /** The result: `document` as JSON, or the text for people. At most once per command. */
  answer(document: unknown, text: () => string | string[]): void
  /** Text for people on stdout, without a line break of its own. Nothing with `--json`. */
  write(text: string): void
  /** A remark for people on stderr. Nothing with `--json`. */
  note(text: string): void
  fail(failure: Failure): void
  paint(colour: Colour, text: string): string
}

export interface ScreenOptions {
  json: boolean
  colour: boolean
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
}

export function makeScreen({ json, colour, stdout, stderr }: ScreenOptions): Screen {
  const lines = (text: string | string[]) => `${Array.isArray(text) ? text.join('\n') : text}\n`
  const paint = (style: Colour, text: string) => (colour ? styleText(style, text, { validateStream: false }) : text)
  return {
    json,
    live: !json && stdout.isTTY === true,
    columns: stdout.isTTY === true && stdout.columns > 0 ? stdout.columns : null,
    answer: (document, text) => {
      stdout.write(json ? `${JSON.stringify(document, null, 2)}\n` : lines(text()))
    },
    write: (text) => {
      if (!json) stdout.write(text)
    },
    note: (text) => {
      if (!json) stderr.write(lines(text))
    },
    fail: (failure) => {
      const text = failureText(failure)
      stderr.write(
        json ? `${JSON.stringify(failureDocument(failure))}\n` : lines(stderr.isTTY ? paint('red', text) : text),
      )
    },
    paint,
  }
}

/** Colours only on a terminal, and not when the person said no by flag or by the NO_COLOR and TERM conventions. */
export function wantsColour(flag: boolean, env: NodeJS.ProcessEnv, stdout: { isTTY?: boolean }): boolean {
  return flag && stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
}

/** A reader who had enough (`paddock ls | head -1`) ends the command quietly. */
export function endQuietlyWithReader(stdout: NodeJS.WriteStream): void {
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}
