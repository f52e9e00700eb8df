/**
 * An organisation's token for the Hub: sealed in the database, opened where a request is made, shown to nobody. Whoever
 * manages the organisation sets it; what others see is whether there is one, whose, and its last four characters.
 */
import { can, type Principal, type Right } from '../../access/permissions.ts'
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Database } from '../../store/database.ts'
import { passesByItself } from './answer.ts'
import * as store from './store.ts'

export interface HubTokenView {
  orgId: string
  set: boolean
  /** Its last four characters. */
  hint: string | null
  /** Name of its account; null = the Hub could not be asked. */
  account: string | null
  changedAt: Date | null
}

export interface HubTokensContext {
  db: Database
  seal: Seal
  clock: Clock
  /** Name of the account; throws Faults of the Hub. null = there is no Hub to ask. */
  whoAmI: ((token: Secret) => Promise<string>) | null
}

export class HubTokens {
  readonly #context: HubTokensContext
  constructor(context: HubTokensContext) {
    this.#context = context
  }

  async get(principal: Principal, orgId: string): Promise<HubTokenView> {
    await this.#allow(principal, orgId, 'org:read')
    return viewOf(orgId, await store.tokenOf(this.#context.db, orgId))
  }

  /** Takes the place of the one before. A Hub that refuses it has it refused here; one that is away does not. */
  async set(principal: Principal, orgId: string, token: Secret): Promise<HubTokenView> {
    await this.#allow(principal, orgId, 'org:write')
    const { db, seal, clock } = this.#context
    const account = await this.#accountOf(token)
    const at = new Date(clock.now())
    const secret = token.reveal()
    const row = { org_id: orgId, sealed: seal.seal(secret), hint: secret.slice(-4), account, changed_at: at }
    await db.tx(async (tx) => {
      await store.saveToken(tx, row)
      const data = { by: principal.keyId, account }
      await record(tx, { orgId, deploymentId: null, type: 'org.hub_token_set', data, at })
    })
    return viewOf(orgId, row)
  }

  /** Repeating it changes nothing. */
  async remove(principal: Principal, orgId: string): Promise<HubTokenView> {
    await this.#allow(principal, orgId, 'org:write')
    const { db, clock } = this.#context
    await db.tx(async (tx) => {
      if (!(await store.removeToken(tx, orgId))) return
      const at = new Date(clock.now())
      await record(tx, { orgId, deploymentId: null, type: 'org.hub_token_removed', data: { by: principal.keyId }, at })
    })
    return viewOf(orgId, null)
  }

  /** For whoever asks the Hub on behalf of the organisation. */
  async of(orgId: string): Promise<Secret | null> {
    const row = await store.tokenOf(this.#context.db, orgId)
    return row === null ? null : new Secret(this.#context.seal.open(row.sealed))
  }

  async #accountOf(token: Secret): Promise<string | null> {
    try {
      return (await this.#context.whoAmI?.(token)) ?? null
    } catch (error) {
      if (error instanceof Fault && passesByItself(error)) return null
      throw error
    }
  }

  /** Another organisation is not there. */
  async #allow(principal: Principal, orgId: string, right: Right): Promise<void> {
    const own = orgId === principal.orgId
    if (!own && !principal.operator) throw missing(orgId)
    if (!can(principal, right)) throw new Fault('forbidden', `This API key does not have the right ${right}.`)
    if (!(await store.isOrg(this.#context.db, orgId))) throw missing(orgId)
  }
}

function viewOf(orgId: string, row: Omit<store.TokenRow, 'sealed'> | null): HubTokenView {
  const { hint = null, account = null, changed_at: changedAt = null } = row ?? {}
  return { orgId, set: row !== null, hint, account, changedAt }
}

function missing(orgId: string): Fault {
  return new Fault('not_found', `There is no organisation "${orgId}".`)
}
