/** How deep JSON nests. Templates, grammars and llama.cpp recurse: what is too deep ends them, so it is found out before. */

/** As the gateway has it for bodies. */
export const nestingMaximum = 128

/** Without recursion of its own. */
export function nestsDeeper(value: unknown, levels: number): boolean {
  let level = [value]
  for (let depth = 0; depth <= levels; depth += 1) {
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []))
    if (level.length === 0) return false
  }
  return true
}
