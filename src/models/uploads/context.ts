/** What the use cases and the loop of uploads stand on. */
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Database } from '../../store/database.ts'
import type { KnownBase } from '../supported/judge.ts'
import type { Copies } from './copies.ts'
import type { UploadLimits } from './limits.ts'
import type { Receiving } from './receiving.ts'
import type { ModelStorage } from './storage.ts'
import type { ModelUsers } from './users.ts'

export interface UploadContext {
  db: Database
  seal: Seal
  clock: Clock
  log: Log
  storage: ModelStorage
  limits: UploadLimits
  users: ModelUsers
  receiving: Receiving
  /** The same for every start of this control: what a killed one was receiving is known by it. */
  holder: string
  /** Why llama.cpp cannot load it, in a few words; null = it can. Absent: nothing is tried. */
  tryLoad?: (path: string, signal: AbortSignal) => Promise<string | null>
  /** Of what is stored elsewhere. */
  copies: Copies
  /** Models that others rest on. */
  bases(): readonly KnownBase[]
  /** Tells the loop that there is something to do. */
  wake(): void
}
