/**
 * Every order in which things can happen: from a first state, every step that is possible in it, and so on, until no
 * state is new. Then, over the graph of all states: is there a way to go on for ever, with everybody taking their turns,
 * and never arrive where one should?
 */

export interface Step<S> {
  /** Who does it, and what. */
  name: string
  /** It happens sooner or later if it can; else it may happen or not (a client, a death). */
  sure: boolean
  take(): Promise<S>
}

export interface Model<S> {
  first: S
  steps(state: S): Step<S>[]
  /** Equal for states from which everything goes on in the same way. */
  key(state: S): string
}

interface Node<S> {
  state: S
  from: Node<S> | null
  by: string
  /** To which states its steps lead, by the step's name; only those that happen for sure. */
  ways: { name: string; to: Node<S> }[]
  number: number
}

export interface Graph<S> {
  nodes: Node<S>[]
  /** Steps that were tried. */
  steps: number
}

/** Throws what a step throws, with the way that leads there. */
export async function explore<S>(model: Model<S>, statesMaximum: number): Promise<Graph<S>> {
  const root: Node<S> = { state: model.first, from: null, by: '', ways: [], number: 0 }
  const known = new Map([[model.key(model.first), root]])
  const nodes = [root]
  let steps = 0
  for (const node of nodes) {
    for (const step of model.steps(node.state)) {
      steps += 1
      let state: S
      try {
        state = await step.take()
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${wayTo(node)}\n${step.name}`, { cause: error })
      }
      const key = model.key(state)
      let to = known.get(key)
      if (to === undefined) {
        to = { state, from: node, by: step.name, ways: [], number: nodes.length }
        known.set(key, to)
        nodes.push(to)
        if (nodes.length > statesMaximum) throw new Error(`more than ${statesMaximum} states`)
      }
      if (step.sure) node.ways.push({ name: step.name, to })
    }
  }
  return { nodes, steps }
}

/** The steps that lead to a state, one a line. */
export function wayTo<S>(node: Node<S>): string {
  const steps: string[] = []
  for (let at = node; at.from !== null; at = at.from) steps.unshift(at.by)
  return steps.join('\n')
}

/**
 * A state from which everybody may take their turns for ever without reaching one that is `done`; null = there is none.
 * Such a trap is a set of states, each reachable from each, in which every sure step that is possible in all of them also
 * leads from one of them to another: then no fairness forces a way out.
 */
export function findTrap<S>({ nodes }: Graph<S>, done: (state: S) => boolean): Node<S> | null {
  const open = nodes.filter((node) => !done(node.state))
  const inside = new Set(open)
  for (const group of groups(open, inside)) {
    const members = new Set(group)
    const staying = group.flatMap(({ ways }) => ways.filter(({ to }) => members.has(to)))
    const goesOn = group.length > 1 || staying.length > 0 || group[0]!.ways.length === 0
    const stay = new Set(staying.map(({ name }) => name))
    // Possible in all of them, and leading out of each: sooner or later it is taken.
    const out = group[0]!.ways.find(({ name }) => !stay.has(name) && group.every((node) => canDo(node, name)))
    if (goesOn && out === undefined) return group[0]!
  }
  return null
}

/** A state from which no state that is `done` can be reached any more; null = there is none. */
export function findDeadEnd<S>({ nodes }: Graph<S>, done: (state: S) => boolean): Node<S> | null {
  const before = new Map<Node<S>, Node<S>[]>()
  for (const node of nodes)
    for (const { to } of node.ways) {
      const known = before.get(to)
      if (known) known.push(node)
      else before.set(to, [node])
    }
  const saved = new Set(nodes.filter((node) => done(node.state)))
  for (const node of saved) for (const one of before.get(node) ?? []) saved.add(one)
  return nodes.find((node) => !saved.has(node)) ?? null
}

function canDo<S>({ ways }: Node<S>, name: string): boolean {
  return ways.some((way) => way.name === name)
}

/** Strongly connected components (Tarjan), without recursion: ways may be thousands of steps long. */
function groups<S>(nodes: Node<S>[], inside: ReadonlySet<Node<S>>): Node<S>[][] {
  const found: Node<S>[][] = []
  const index = new Map<Node<S>, number>()
  const low = new Map<Node<S>, number>()
  const path: Node<S>[] = []
  const onPath = new Set<Node<S>>()
  const enter = (node: Node<S>) => {
    low.set(node, index.size)
    index.set(node, index.size)
    path.push(node)
    onPath.add(node)
    return { node, next: 0 }
  }
  for (const start of nodes) {
    if (index.has(start)) continue
    const calls = [enter(start)]
    for (let call = calls.at(-1); call !== undefined; call = calls.at(-1)) {
      const { node } = call
      const way = node.ways[call.next]
      call.next += 1
      if (way === undefined) {
        calls.pop()
        const before = calls.at(-1)?.node
        if (before) low.set(before, Math.min(low.get(before)!, low.get(node)!))
        if (low.get(node) !== index.get(node)) continue
        const group = path.splice(path.lastIndexOf(node))
        for (const member of group) onPath.delete(member)
        found.push(group)
      } else if (!inside.has(way.to)) continue
      else if (!index.has(way.to)) calls.push(enter(way.to))
      else if (onPath.has(way.to)) low.set(node, Math.min(low.get(node)!, index.get(way.to)!))
    }
  }
  return found
}
