/** The simulated fleet's process (`--fleet simulated`): its engines answer on while control is away. */
import { systemClock as clock } from './runtime/clock.ts'
import { runPart } from './server-child.ts'
import type { SimulatedSetup } from './server-parts.ts'
import { serveSimulation } from './server-simulation.ts'

runPart<SimulatedSetup>(async (setup, tell) => {
  const simulation = await serveSimulation({ ...setup, clock })
  tell({ kind: 'ready' })
  return simulation
})
