/** All rules over one tree. */
import { globalExceptions, packages, ratchet } from './lists.ts'
import { readMatrix } from './matrix.ts'
import { globalsRule } from './rules/globals.ts'
import { cycleRule, matrixRule, packageRule } from './rules/imports.ts'
import { nameRule } from './rules/names.ts'
import { sizeRule } from './rules/sizes.ts'
import { lockRule, textRule } from './rules/text.ts'
import { walkRule } from './rules/walks.ts'
import { readSyntax } from './syntax.ts'
import type { Tree, Violation } from './tree.ts'

export const defaultLists = { globalExceptions, packages, ratchet }

/** Everything that is wrong with the tree, in the order of the rules. */
export function violations(tree: Tree, lists: typeof defaultLists = defaultLists): Violation[] {
  const facts = readSyntax(tree)
  return [
    ...matrixRule(facts, readMatrix(tree)),
    ...packageRule(facts, lists.packages),
    ...cycleRule(facts),
    ...globalsRule(facts, lists.globalExceptions),
    ...sizeRule(tree, facts, lists.ratchet),
    ...nameRule(tree),
    ...textRule(tree),
    ...lockRule(tree),
    ...walkRule(tree),
  ]
}

export function told({ rule, path, line, message }: Violation): string {
  return `${path}${line > 0 ? `:${line}` : ''} ${rule}: ${message}`
}
