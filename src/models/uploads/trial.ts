/** What a trial of llama.cpp on a file says of the file. Pure. */

/** A trial that takes longer is one that does not end. */
export const trialWithinMs = 600_000
const whyMaximum = 300

/** Why the file cannot be loaded; null = it can, or nobody here can tell. `by`: what ended the trial from outside. */
export function judgeTrial({ said, by }: { said: string; by: string | null }): string | null {
  const result = parsed(said)
  if (result?.ok === true || result?.skipped !== undefined) return null
  if (result?.ok === false) return clean(result.why ?? 'it gives no reason')
  return by === null ? 'it says nothing' : `it ended while it tried: ${by}`
}

function parsed(said: string): { ok?: boolean; why?: string; skipped?: string } | null {
  try {
    return JSON.parse(said.trim().split('\n').at(-1) ?? '')
  } catch {
    return null
  }
}

/** Its words may repeat what the file holds, and where the file is. */
function clean(why: string): string {
  const text = why.replace(/(?:\/[\w.-]+){2,}/g, 'the file').replace(/\p{Cc}/gu, ' ')
  return text.slice(0, whyMaximum).replace(/\.$/, '')
}
