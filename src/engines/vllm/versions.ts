/**
 * Which versions of vLLM are known, and what differs between them. All that the driver writes into a launch line was
 * looked up in the sources of 0.18.1, 0.24.0, 0.27.1 and 0.33.0, and is there in each but for what stands here. Pure.
 */
import { compareVersions, type KnownVersions } from '../contract.versions.ts'

export const known: KnownVersions = { oldest: '0.18.0', newest: '0.33.0' }

export interface Capabilities {
  /** Name under which 16-bit weights are brought to 8 bits while they are loaded. */
  eightBitWeights: string
}

/** Before, one name meant weights that are stored in 8 bits and weights that are to be brought to them. */
const ownNameSince = '0.24.0'

export function capabilities(version: string = known.newest): Capabilities {
  return { eightBitWeights: compareVersions(version, ownNameSince) >= 0 ? 'fp8_per_tensor' : 'fp8' }
}
