/** The first step of a start: hardware and account are taken, and written down before anything else happens. */
import { mkdirSync, rmSync } from 'node:fs'
import { createFileOnce } from '../../runtime/files.ts'
import { type Account, engineAccount, engineUidCount, runsAsRoot } from '../../runtime/isolation.ts'
import { ComputeError, type ReplicaOrder } from '../contract.ts'
import { gpusFor, roomFor } from './capacity.ts'
import { gpuClaim, type Host } from './host.ts'
import type { Intent, RunFolder } from './run-folder.ts'
import { uidsInUse } from './strays.ts'

/** The intent of this replica, made now or by an earlier call. Throws ComputeError capacity_short or rejected. */
export async function admit(host: Host, order: ReplicaOrder): Promise<Intent> {
  const run = host.run(order.id)
  const known = run.intent()
  if (known !== null) return known
  const { placement } = order
  const what = `${placement.gpuCount} × ${placement.gpuType} in ${placement.region}`
  const room = roomFor(placement, await host.offers(order.id))
  if (room === 'unknown') throw new ComputeError('rejected', `This machine does not have ${what}.`)
  if (room === 'full') throw new ComputeError('capacity_short', `${what}: all are in use on this machine.`)
  mkdirSync(run.path, { recursive: true, mode: 0o700 })
  try {
    const gpus = await takeGpus(host, run, order)
    const intent = { placement, ...gpus, account: takeAccount(host, run), at: host.clock.now() }
    createFileOnce(run.file('intent.json'), JSON.stringify(intent))
    // Another process may have been faster; then its intent counts, and the claims are the same folder's anyway.
    return run.intent() ?? intent
  } catch (error) {
    host.claims.release(run.path)
    rmSync(run.path, { recursive: true, force: true })
    throw error
  }
}

async function takeGpus(
  host: Host,
  run: RunFolder,
  { placement }: ReplicaOrder,
): Promise<Pick<Intent, 'gpuIds' | 'gpuVendor'>> {
  const need = gpusFor(placement, host.types, await host.gpus())
  if (need === null) return { gpuIds: [], gpuVendor: null }
  const names = host.claims.take(need.candidates.map(gpuClaim), need.count, run.path)
  if (names === null)
    throw new ComputeError('capacity_short', `${need.count} × ${placement.gpuType}: too few GPUs are free.`)
  const mine = need.candidates.filter((gpu) => names.includes(gpuClaim(gpu)))
  return { gpuIds: mine.map((gpu) => gpu.index), gpuVendor: mine[0]!.vendor }
}

/** A uid that no other engine on this machine has, and under which nothing runs. */
function takeAccount(host: Host, run: RunFolder): Account | null {
  if (!runsAsRoot()) return null
  const busy = uidsInUse()
  const slots = Array.from({ length: engineUidCount }, (_, slot) => engineAccount(slot, host.uidBase)!.uid)
  const held = new Set(host.claims.all().flatMap((claim) => (claim.folder === run.path ? claim.name : [])))
  const names = slots.filter((uid) => !busy.has(uid) || held.has(`uid-${uid}`)).map((uid) => `uid-${uid}`)
  const taken = host.claims.take(names, 1, run.path)
  if (taken === null)
    throw new ComputeError('capacity_short', `All ${engineUidCount} accounts for engines are in use on this machine.`)
  const uid = Number(taken[0]!.slice('uid-'.length))
  return { uid, gid: uid }
}
