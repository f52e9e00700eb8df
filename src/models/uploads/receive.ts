/** One form on its way into the storage: what each of its parts means, in whatever order they come. */
import type { Principal } from '../../access/permissions.ts'
import { Fault } from '../../kernel/fault.ts'
import type { UploadContext } from './context.ts'
import { taken } from './faults.ts'
import type { FormReader } from './form.ts'
import { Intake, type Received, store } from './intake.ts'
import { tooLarge } from './limits.ts'
import { checkName } from './names.ts'
import * as rows from './store.ts'

/** How often a row says that its bytes still come. */
const touchEveryMs = 5_000

export class FormReception implements FormReader {
  readonly #context: UploadContext
  readonly #principal: Principal
  readonly #row: rows.UploadRow
  readonly #seen = new Set<string>()
  #received: Received | null = null

  constructor(context: UploadContext, principal: Principal, row: rows.UploadRow) {
    this.#context = context
    this.#principal = principal
    this.#row = row
  }

  async field(name: string, value: string): Promise<void> {
    this.#once(name)
    const { db, users } = this.#context
    if (name === 'name') {
      if (!(await rows.nameUpload(db, this.#row.id, checkName(value)))) throw taken(value)
    } else if (name === 'deployment_id')
      await rows.setDeployment(db, this.#row.id, await users.check(this.#principal, value))
    else if (name === 'file') throw missing('file', 'is a text; send it as a file (curl: -F "file=@model.gguf")')
    else
      throw new Fault('unknown_field', `${JSON.stringify(name.slice(0, 80))} is not a field of this form.`, {
        action: 'Send the parts file, name and, if it is to roll to it, deployment_id.',
      })
  }

  async file(content: AsyncIterable<Buffer>): Promise<void> {
    this.#once('file')
    const { storage, limits } = this.#context
    const intake = new Intake(this.#context.bases())
    const writer = await storage.append(this.#row.id)
    let isWhole = false
    try {
      await store(content, writer, {
        intake,
        bytesMaximum: this.#row.size_bytes,
        tooMuch: () => tooLarge(limits),
        progress: touching(this.#context, this.#row.id, 0),
      })
      this.#received = intake.end()
      isWhole = true
    } finally {
      const closed = writer.close()
      // What is thrown away need not survive.
      await (isWhole ? closed : closed.catch(() => {}))
    }
  }

  /** The form has ended. Throws Faults. */
  async finish(): Promise<void> {
    const { db, clock } = this.#context
    if (this.#received === null) throw missing('file', 'is missing')
    if (!this.#seen.has('name')) throw missing('name', 'is missing')
    if (!(await rows.markReceived(db, this.#row.id, this.#received, new Date(clock.now())))) throw givenUp()
  }

  #once(name: string): void {
    if (this.#seen.has(name)) throw new Fault('invalid_request', `${name.slice(0, 80)}: is there more than once.`)
    this.#seen.add(name)
  }
}

/** Says now and then that bytes still come, and ends when nobody wants them any more. */
export function touching({ db, clock }: UploadContext, id: string, before: number): (bytes: number) => Promise<void> {
  let due = clock.monotonicMs() + touchEveryMs
  return async (bytes) => {
    if (clock.monotonicMs() < due) return
    due = clock.monotonicMs() + touchEveryMs
    if (!(await rows.touchUpload(db, id, before + bytes, new Date(clock.now())))) throw givenUp()
  }
}

export function givenUp(): Fault {
  return new Fault('not_found', 'The upload was deleted, or given up because it stood still for too long.')
}

function missing(field: string, problem: string): Fault {
  return new Fault('invalid_request', `${field}: ${problem}.`, { detail: { fields: [{ field, problem }] } })
}
