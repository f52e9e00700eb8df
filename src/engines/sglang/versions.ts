/**
 * Which versions of SGLang are known. All that the driver writes into a launch line was looked up in the sources of
 * 0.5.9, 0.5.16 and 0.5.23, and is there in each.
 */
import type { KnownVersions } from '../contract.versions.ts'

export const known: KnownVersions = { oldest: '0.5.9', newest: '0.5.23' }
