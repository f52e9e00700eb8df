/** `paddock orgs hf-token`: the token with which an organisation reads from the Hub. It never stands on a command line. */
import { environment } from '../runtime/environment.ts'
import type { HubToken } from '../wire/native/hub.ts'
import { usageFailure } from './failure.ts'
import type { Session } from './session.ts'

export interface HubTokenOptions {
  set?: boolean
  remove?: boolean
}

const tokenCharsMaximum = 10_000

export async function hubToken(
  { screen, client }: Session,
  org: string,
  { set, remove }: HubTokenOptions,
): Promise<void> {
  if (set && remove) throw usageFailure('Give --set or --remove, not both.')
  const token = set
    ? await client.putHubToken(org, { token: await givenToken() })
    : remove
      ? await client.deleteHubToken(org)
      : await client.getHubToken(org)
  screen.answer(token, () => hubTokenText(token))
}

export function hubTokenText({ org_id, set, hint, account }: HubToken): string {
  if (!set) return `${org_id} has no token for the Hub: it reads what everybody may.`
  const whose = account === null ? 'the Hub could not be asked whose it is' : `of the account ${account}`
  return `${org_id} has a token for the Hub, ending in ${hint}, ${whose}.`
}

/** From a pipe, else from HF_TOKEN. */
async function givenToken(): Promise<string> {
  const piped = process.stdin.isTTY === true ? '' : await pipedText()
  const token = piped || (environment().HF_TOKEN ?? '')
  if (token === '')
    throw usageFailure('There is no token.', 'Give it through a pipe, or in the environment variable HF_TOKEN.')
  return token
}

async function pipedText(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const piece of process.stdin) {
    text += piece
    if (text.length > tokenCharsMaximum) throw usageFailure('The token from standard input is too long.')
  }
  return text.trim()
}
