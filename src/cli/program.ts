/**
 * The command line: its commands, options and help. What a command does is in a file of its own that is read when the
 * command runs, so that help and mistakes are answered at once.
 */
import { Command, CommanderError } from 'commander'
import { environment } from '../runtime/environment.ts'
import { addCommands } from './commands.ts'
import type { Doors } from './doors.ts'
import { endWithFailure } from './end.ts'
import { exitStatus, exitStatusHelp, usageFailure } from './failure.ts'
import { endQuietlyWithReader, makeScreen, type Screen, wantsColour } from './screen.ts'

/** Runs the command in `args` (without program names). Resolves with the exit status; never throws. */
export async function runCommandLine(args: string[], doors: Doors): Promise<number> {
  const screen = makeScreen({
    // Also when the rest cannot be parsed: errors then still come in the form that was asked for.
    json: beforeDashes(args).includes('--json'),
    colour: wantsColour(!beforeDashes(args).includes('--no-color'), environment(), process.stdout),
    stdout: process.stdout,
    stderr: process.stderr,
  })
  endQuietlyWithReader(process.stdout)
  let status: number = exitStatus.ok
  const program = makeProgram(screen, doors, (result) => {
    status = result
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return status
  } catch (error) {
    if (error instanceof CommanderError) return endOfParsing(error, screen, args)
    return endWithFailure(error, screen)
  }
}

function makeProgram(screen: Screen, doors: Doors, setStatus: (status: number) => void): Command {
  const program = new Command('paddock')
    .description('Dedicated LLM inference endpoints that you host yourself.')
    .version(doors.version, '-V, --version', 'print the version')
    .option('--url <url>', 'server (PADDOCK_URL; default http://127.0.0.1:8080)')
    .option('--port <port>', 'server on this machine at that port; for serve and demo: the port to listen on')
    .option('--key <key>', 'API key (PADDOCK_API_KEY; default: the operator key in the data folder)')
    .option('--data <folder>', 'data folder (PADDOCK_DATA; default ~/.paddock)')
    .option('--org <id>', 'act in that organisation, with the operator key (PADDOCK_ORG)')
    .option('--json', 'one JSON document on stdout; errors as JSON on stderr')
    .option('--no-color', 'no colours (also NO_COLOR)')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      // Mistakes are said once, by endOfParsing.
      outputError: () => {},
    })
    .helpCommand('help [command]', 'help for a command')
    .exitOverride()
    .showHelpAfterError(false)
    .addHelpText(
      'after',
      `
Examples:
  paddock serve                                    start a server on this machine
  paddock deploy paddock/starter --wait            create a deployment and wait until it answers
  paddock chat starter "Hello"                     talk to it
  paddock explain starter                          why it is as it is
  paddock ls --json                                for programs`,
    )
    .addHelpText('afterAll', `\n${exitStatusHelp}`)
  addCommands(program, screen, doors, setStatus)
  return program
}

const helpShown = new Set(['commander.helpDisplayed', 'commander.help', 'commander.version'])

function endOfParsing(error: CommanderError, screen: Screen, args: string[]): number {
  // `paddock` alone prints the help and is still a mistake; `paddock --help` is none.
  if (helpShown.has(error.code)) return error.exitCode === 0 ? exitStatus.ok : exitStatus.usage
  const said = error.message.replace(/^error: /, '')
  const [first = ''] = args.filter((arg) => !arg.startsWith('-'))
  const about = /^[a-z]+$/.test(first) && error.code !== 'commander.unknownCommand' ? `paddock ${first}` : 'paddock'
  const sentence = said.charAt(0).toUpperCase() + said.slice(1).replace(/\s*\n\s*/g, ' ')
  screen.fail(usageFailure(/[.?!)]$/.test(sentence) ? sentence : `${sentence}.`, `See "${about} --help".`))
  return exitStatus.usage
}

function beforeDashes(args: string[]): string[] {
  const end = args.indexOf('--')
  return end === -1 ? args : args.slice(0, end)
}
