/** 0 … 1, always the same of the same id. */
export function spread(id: string): number {
  let sum = 0
  for (let at = 0; at < id.length; at += 1) sum = (sum * 31 + id.charCodeAt(at)) >>> 0
  return (sum % 1_000) / 1_000
}
