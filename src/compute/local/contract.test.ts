import { type Behaviour, computeContract } from '../contract.suite.ts'
import { cpu, TestFleet } from './testing/fleet.ts'

const flagsOf: Record<Behaviour, string[]> = {
  serves: ['--print-lines', '3'],
  crashes: ['--print-lines', '60', '--status', '3', '--crash-now'],
  stubborn: ['--ignore-term'],
}

computeContract('local', async () => {
  const fleet = new TestFleet({ cpuSlots: 3 })
  return {
    driver: fleet.local,
    placement: cpu,
    order: (id, behaviour, placement) => fleet.order(flagsOf[behaviour], { id, placement }),
    again: () => fleet.again(),
    engines: (id) => fleet.processes('engine', id).length,
    patienceMs: 10_000,
    dispose: () => fleet.dispose(),
  }
})
