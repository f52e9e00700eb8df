/**
 * A simulated fleet: the provider of compute/simulated with the engines of engines/simulated, in this process. As a
 * server both are behind one port: the provider's door, and the engines, told apart by their keys.
 */
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { SimulatedType } from './compute/simulated/capacity.ts'
import { Door, type DoorAddress, doorPath } from './compute/simulated/door.ts'
import { Doorways, engineAddress, engineServer, listen } from './compute/simulated/doorways.ts'
import { FileJournal } from './compute/simulated/journal.ts'
import { SimulatedCompute, type SimulatedOptions } from './compute/simulated/provider.ts'
import { doorFile } from './compute/simulated/remote.ts'
import type { Script } from './compute/simulated/script.ts'
import { EngineRoom } from './engines/simulated/room.ts'
import type { Clock } from './runtime/clock.ts'
import { makeFolder, readJsonIfThere, writeFileAtomic } from './runtime/files.ts'
import { randomToken } from './runtime/ids.ts'

export interface SimulationOptions {
  clock: Clock
  script: Script
  types: readonly SimulatedType[]
  cpuSlots?: number
}

export interface Simulation {
  compute: SimulatedCompute
  room: EngineRoom
  /** Engines answer from then on; 0 = any port. */
  listen(port?: number): Promise<number>
  close(): Promise<void>
}

/** Longest that something which is to happen by itself is late, ms. */
const lateMaximumMs = 1_000
const leastPauseMs = 5

/** In this process alone: nothing is kept. Without `listen` its engines answer nobody, and nothing else is missing. */
export function makeSimulation(options: SimulationOptions): Simulation {
  return assemble(options, {}, () => null)
}

function assemble(
  options: SimulationOptions,
  memory: Pick<SimulatedOptions, 'journal' | 'kept'>,
  makeDoor: (compute: SimulatedCompute) => Door | null,
): Simulation {
  const room = new EngineRoom(options.clock)
  const doorways = options.script.ports === 'each' ? new Doorways(room.serve) : null
  let port = 0
  const compute = new SimulatedCompute({
    ...options,
    ...memory,
    room,
    // Nobody asks the engines of one that will never listen.
    doorways: () => (port !== 0 || memory.journal !== undefined ? doorways : null),
    place: () => ({ address: engineAddress, port }),
  })
  const door = makeDoor(compute)
  const server = createServer(engineServer, (request, response) => {
    if (door !== null && request.url?.startsWith(doorPath)) door.serve(request, response)
    else room.serve(request, response)
  })
  return {
    compute,
    room,
    listen: async (wished = 0) => {
      port = await listen(server, wished)
      return port
    },
    close: async () => {
      doorways?.closeAll()
      if (port === 0) return
      const closed = new Promise<void>((done) => server.close(() => done()))
      server.closeAllConnections()
      await closed
    },
  }
}

/**
 * For other processes: its memory is in `folder`, so that the next one goes on where this one ended, on the same port if
 * it is still free. Else the engines have lost their place, and are over.
 */
export async function serveSimulation(
  options: SimulationOptions & { folder: string },
): Promise<Pick<Simulation, 'room'> & { stop(): Promise<void> }> {
  const { folder, clock } = options
  makeFolder(folder, 0o700)
  const before = readJsonIfThere<DoorAddress>(doorFile(folder))
  const key = before?.key ?? randomToken(24)
  const journal = new FileJournal(join(folder, 'journal.jsonl'))
  const kept = journal.open()
  const simulation = assemble(options, { journal, kept }, (compute) => new Door(compute, key))
  const port = await simulation.listen(before?.port ?? 0).catch(() => simulation.listen(0))
  if (before !== null && before.port !== port) simulation.compute.endAll()
  writeFileAtomic(doorFile(folder), JSON.stringify({ port, key } satisfies DoorAddress))
  const stopping = new AbortController()
  const living = live(simulation.compute, clock, stopping.signal)
  return {
    room: simulation.room,
    stop: async () => {
      stopping.abort()
      await living
      await simulation.close()
    },
  }
}

/** What is to happen by itself happens in time: a crash breaks connections whether or not anybody asks. */
async function live(compute: SimulatedCompute, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const now = compute.settle()
    const ms = (compute.nextAt ?? now + lateMaximumMs) - now
    await clock.sleep(Math.min(lateMaximumMs, Math.max(leastPauseMs, ms)), signal)
  }
}
