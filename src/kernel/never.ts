/** Put after a switch over a closed union: a new member that nobody handles fails to compile here. */
export function never(value: never, what: string): never {
  throw new Error(`unhandled ${what}: ${JSON.stringify(value)}`)
}
