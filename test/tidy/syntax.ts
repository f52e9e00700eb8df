/**
 * What the rules need to know of each source file: its imports, its functions, and which globals it touches. Read from
 * the compiler's own syntax trees. The compiler's programming interface is marked unstable; this is the one file that
 * uses it, and the compiler's version is pinned.
 */
import {
  type FunctionLikeDeclaration,
  isArrowFunction,
  isCallExpression,
  isConstructorDeclaration,
  isElementAccessExpression,
  isExportDeclaration,
  isFunctionDeclaration,
  isFunctionExpression,
  isGetAccessorDeclaration,
  isIdentifier,
  isImportDeclaration,
  isImportTypeNode,
  isMethodDeclaration,
  isNewExpression,
  isParameterDeclaration,
  isPropertyAccessExpression,
  isSetAccessorDeclaration,
  isStringLiteral,
  isVariableDeclaration,
  isVariableStatement,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API } from 'typescript/unstable/sync'

export interface Import {
  specifier: string
  line: number
  /** Nothing of it is there at run time. */
  typeOnly: boolean
  /** Names taken from it; empty for `import * as`, `import()` and side effects. */
  names: string[]
}

export interface FunctionFact {
  name: string
  line: number
  lines: number
}

/** A global that is read or called: `fetch`, `Date.now`, `new Date()`, `process.env`. */
export interface Use {
  what: string
  line: number
}

export interface FileFacts {
  imports: Import[]
  functions: FunctionFact[]
  uses: Use[]
}

/** Objects whose members are told as `object.member`; everything else by its bare name. */
const objects = new Set(['Date', 'Math', 'process', 'performance', 'crypto', 'globalThis', 'AbortSignal'])

/** One compiler process for all readings of this process; what was read together is a folder of its own in its memory. */
const memory = createVirtualFileSystem({})
let compiler: API | undefined
let readings = 0

/** Facts by the text of the file: trees that differ in one file are read in no time. */
const known = new Map<string, FileFacts>()

/** Facts of every `.ts` and `.mjs` file of the map, by path. */
export function readSyntax(files: ReadonlyMap<string, string>): Map<string, FileFacts> {
  const sources = [...files].filter(([path]) => /\.(ts|mjs)$/.test(path))
  const fresh = sources.filter(([, text]) => !known.has(text))
  if (fresh.length > 0) for (const [text, facts] of parse(fresh)) known.set(text, facts)
  return new Map(sources.map(([path, text]) => [path, known.get(text)!]))
}

function parse(sources: [path: string, text: string][]): [text: string, facts: FileFacts][] {
  const project = (number: number) => `/reading-${number}/tsconfig.json`
  const folder = `/reading-${(readings += 1)}/`
  for (const [path, text] of sources) memory.writeFile!(folder + path, text)
  const compilerOptions = { noLib: true, noResolve: true, types: [], allowJs: true, noEmit: true, module: 'nodenext' }
  memory.writeFile!(project(readings), JSON.stringify({ compilerOptions, files: sources.map(([path]) => path) }))
  compiler ??= new API({ cwd: '/', fs: memory })
  const closeProjects = readings > 1 ? [project(readings - 1)] : []
  const snapshot = compiler.updateSnapshot({ openProjects: [project(readings)], closeProjects })
  const { program } = snapshot.getProject(project(readings))!
  const found = sources.map(([path, text]): [string, FileFacts] => [text, read(program.getSourceFile(folder + path)!)])
  snapshot.dispose()
  return found
}

function read(source: SourceFile): FileFacts {
  const facts: FileFacts = { imports: [], functions: [], uses: [] }
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1
  const visit = (node: Node): void => {
    const line = lineOf(node.getStart(source))
    const found = importOf(node)
    if (found) facts.imports.push({ ...found, line })
    if (isFunctionLike(node) && node.body && !isSuite(node))
      facts.functions.push({ name: nameOf(node, source), line, lines: lineOf(node.end) - line + 1 })
    for (const what of usesOf(node)) facts.uses.push({ what, line })
    node.forEachChild(visit)
  }
  visit(source)
  return facts
}

function importOf(node: Node): Omit<Import, 'line'> | null {
  if (isImportDeclaration(node) && isStringLiteral(node.moduleSpecifier)) {
    const text = node.getText()
    const names = namesIn(text.slice(0, text.lastIndexOf('from')))
    const values = names.filter((name) => !name.startsWith('type '))
    const typeOnly = /^import\s+type\b/.test(text) || (names.length > 0 && values.length === 0)
    return { specifier: node.moduleSpecifier.text, typeOnly, names: names.map((name) => name.replace(/^type /, '')) }
  }
  if (isExportDeclaration(node) && node.moduleSpecifier && isStringLiteral(node.moduleSpecifier))
    return { specifier: node.moduleSpecifier.text, typeOnly: /^export\s+type\b/.test(node.getText()), names: [] }
  if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
    const [target] = node.arguments
    return target && isStringLiteral(target) ? { specifier: target.text, typeOnly: false, names: [] } : null
  }
  if (!isImportTypeNode(node)) return null
  const quoted = /['"]([^'"]+)['"]/.exec(node.argument.getText())
  return quoted ? { specifier: quoted[1]!, typeOnly: true, names: [] } : null
}

/** The imported names between the braces of an import clause, as they are called in the module. */
function namesIn(clause: string): string[] {
  const braces = /\{([^}]*)\}/s.exec(clause)
  const named = (braces?.[1] ?? '').split(',').map((part) => part.trim().replace(/\s+as\s+.*$/s, ''))
  const standard = /^import\s+(?!type\s*\{)(?:type\s+)?([\w$]+)\s*(,|$)/.exec(clause.trim())
  return [...(standard ? ['default'] : []), ...named.filter(Boolean)]
}

type AnyFunction = FunctionLikeDeclaration & { body?: Node }

function isFunctionLike(node: Node): node is AnyFunction {
  return (
    isFunctionDeclaration(node) ||
    isFunctionExpression(node) ||
    isArrowFunction(node) ||
    isMethodDeclaration(node) ||
    isConstructorDeclaration(node) ||
    isGetAccessorDeclaration(node) ||
    isSetAccessorDeclaration(node)
  )
}

/** The body of a `describe` holds tests; each of those is measured by itself. */
function isSuite(node: Node): boolean {
  const call = node.parent
  return isCallExpression(call) && /^(describe|suite)(\.|$)/.test(call.expression.getText())
}

function nameOf(node: AnyFunction, source: SourceFile): string {
  if (isConstructorDeclaration(node)) return 'constructor'
  if ('name' in node && node.name) return (node.name as Node).getText(source)
  return isVariableDeclaration(node.parent) ? node.parent.name.getText(source) : 'an unnamed function'
}

function usesOf(node: Node): string[] {
  if (isNewExpression(node) && isIdentifier(node.expression) && node.expression.text === 'Date')
    return (node.arguments?.length ?? 0) === 0 ? ['new Date()'] : []
  if (isCallExpression(node) && isIdentifier(node.expression) && node.expression.text === 'Date') return ['new Date()']
  const member = memberOf(node)
  if (member) return [member]
  if (isVariableDeclaration(node) && node.initializer && isIdentifier(node.initializer)) {
    const object = node.initializer.text
    if (objects.has(object) && /^\{/.test(node.name.getText()))
      return namesIn(node.name.getText().replaceAll(':', ' as ')).map((name) => `${object}.${name}`)
  }
  return isIdentifier(node) && isValue(node) && !isDeclared(node, node.text) ? [node.text] : []
}

function memberOf(node: Node): string | null {
  if (isPropertyAccessExpression(node) && isIdentifier(node.expression) && objects.has(node.expression.text))
    return joined(node.expression.text, node.name.getText())
  if (isElementAccessExpression(node) && isIdentifier(node.expression) && objects.has(node.expression.text))
    return isStringLiteral(node.argumentExpression)
      ? joined(node.expression.text, node.argumentExpression.text)
      : `${node.expression.text}[…]`
  return null
}

function joined(object: string, member: string): string {
  return object === 'globalThis' ? member : `${object}.${member}`
}

/** True when an identifier stands where its value is taken, not where something is named. */
function isValue(node: Node): boolean {
  const { parent } = node
  if (isCallExpression(parent) || isNewExpression(parent)) return true
  if (isPropertyAccessExpression(parent)) return parent.expression === node
  const taking = [
    SyntaxKind.BinaryExpression,
    SyntaxKind.ConditionalExpression,
    SyntaxKind.ReturnStatement,
    SyntaxKind.ShorthandPropertyAssignment,
    SyntaxKind.ArrayLiteralExpression,
    SyntaxKind.SpreadElement,
    SyntaxKind.ParenthesizedExpression,
    SyntaxKind.AsExpression,
    SyntaxKind.AwaitExpression,
    SyntaxKind.TemplateSpan,
  ]
  if (taking.includes(parent.kind)) return true
  const initialised = parent as Node & { initializer?: Node; name?: Node }
  return initialised.initializer === node
}

/** True when the name is a parameter, a variable, a function or an import of ours around the node: not the global. */
function isDeclared(node: Node, name: string): boolean {
  for (let scope: Node | undefined = node.parent; scope; scope = scope.parent) {
    let declared = false
    scope.forEachChild((child) => {
      declared ||= declares(child, name)
    })
    if (declared) return true
  }
  return false
}

function declares(node: Node, name: string): boolean {
  const text = () => (node as Node & { name?: Node }).name?.getText()
  if (isParameterDeclaration(node) || isFunctionDeclaration(node)) return text() === name
  if (isImportDeclaration(node))
    return new RegExp(`\\b${name}\\b(?!\\s+as\\b)`).test(node.importClause?.getText() ?? '')
  if (!isVariableStatement(node)) return false
  return node.declarationList.declarations.some((one) => one.name.getText() === name)
}
