/**
 * What a create would do, without doing it: fit, price, engine, advice, and what it would be refused for now. What no
 * create could ever be (an unknown model, hardware that is not offered, bad settings) throws as a create does.
 */
import { can, type Principal } from '../access/permissions.ts'
import { Fault, toFault } from '../kernel/fault.ts'
import type { MicroUsd } from '../kernel/money.ts'
import { type Advice, advise } from '../models/fit/advice.ts'
import { type FitWish, fitsOn, type HardwareFit } from '../models/fit/check.ts'
import type { ModelShape } from '../models/fit/shape.ts'
import { findFirst, withRoom } from './adapters/first.ts'
import type { NewAdapter } from './adapters/keep.ts'
import { makeCalendar } from './calendar-change.ts'
import { type DeploymentContext, forbidden } from './context.ts'
import type { EngineSettings } from './engine-settings.ts'
import { type ChoiceFit, refuseMisfit } from './fit.ts'
import { type Market, readMarket } from './offers.ts'
import { pinned } from './pin.ts'
import { onlyEmulated } from './place.ts'
import { checkPresetHardware, hardwareAtCreate, withPreset } from './presets.ts'
import { type Choice, ceilingOf, choicesOf, hourlyMost, hourlyNow } from './prices.ts'
import { checkQuota } from './quota.ts'
import { checkRoom } from './room.ts'
import { firstScaling, floorOf, type ScalingPolicy } from './scaling.ts'
import { type DeploymentSpec, type DeploymentWish, type MadeSpec, makeSpec } from './spec.ts'
import * as store from './store.ts'

export interface Prediction {
  name: string
  spec: DeploymentSpec
  scaling: ScalingPolicy
  preset: string | null
  /** What the preset sets of the engine. */
  engineSettings: EngineSettings
  choices: Choice[]
  /** In the order of the choices. */
  fits: ChoiceFit[]
  /** Everything on offer on which the model runs, cheapest first; empty where nobody knows enough of it. */
  runsOn: HardwareFit[]
  /** The cheapest on which it fits well; null = none, or not known. */
  cheapest: HardwareFit | null
  /** For its first choice; null = not known, or a CPU. */
  advice: Advice | null
  /** An hour with the replicas there are at first, and at most. */
  hourlyCost: MicroUsd
  hourlyCostMax: MicroUsd
  emulated: boolean
  servedBy: string | null
  /** What a create would be refused for now; empty = it would be created. */
  refusals: Fault[]
}

export async function predict(
  context: DeploymentContext,
  principal: Principal,
  asked: DeploymentWish,
): Promise<Prediction> {
  if (!can(principal, 'deployment:write')) throw forbidden('deployment:write')
  const { wish, refusal } = await pinnedIfItCan(context, principal.orgId, withPreset(asked, context))
  const { policy: scaling, replicas } = firstScaling(wish, context)
  const own = await context.models.findOwn(context.db, principal.orgId, wish.modelId)
  const asWished = { ...wish, replicas }
  const anything = { ...context, anyEngine: true, unpinned: true }
  const plain = makeSpec(asWished, anything, own)
  const { adapters, misfit } = await adaptersIfTheyFit(context, principal.orgId, wish, plain)
  const made = withRoom(plain, adapters, asWished, anything, own)
  makeCalendar(wish, context, context.clock.now())
  const market = await readMarket(context)
  return {
    ...figures(context, made, wish, scaling),
    emulated: made.model.emulated || onlyEmulated(made.spec.hardware, market.offers),
    refusals: [
      ...[refusal, misfit].filter((fault) => fault !== null),
      ...(await refusals(context, principal, asked, { wish, made, scaling, replicas, market })),
    ],
  }
}

/** What the catalogue knows is told also where the Hub says no; that is a refusal like others. */
async function pinnedIfItCan(
  context: DeploymentContext,
  orgId: string,
  wish: DeploymentWish,
): Promise<{ wish: DeploymentWish; refusal: Fault | null }> {
  try {
    return { wish: await pinned(context, orgId, wish), refusal: null }
  } catch (thrown) {
    if (context.models.hubName(wish.modelId) === wish.modelId) throw thrown
    return { wish, refusal: toRefusal(thrown) }
  }
}

/** An adapter that does not fit is a refusal like others. */
async function adaptersIfTheyFit(
  context: DeploymentContext,
  orgId: string,
  wish: DeploymentWish,
  plain: MadeSpec,
): Promise<{ adapters: NewAdapter[]; misfit: Fault | null }> {
  // What cannot run here is said already.
  if (plain.missing !== null) return { adapters: [], misfit: null }
  try {
    return { adapters: await findFirst(context, orgId, wish, plain), misfit: null }
  } catch (thrown) {
    return { adapters: [], misfit: toRefusal(thrown) }
  }
}

function figures(
  { hardware, models }: DeploymentContext,
  { spec, model, settings, fits, fitWish }: MadeSpec,
  wish: DeploymentWish,
  scaling: ScalingPolicy,
): Omit<Prediction, 'emulated' | 'refusals'> {
  const { shape } = model.named
  const choices = choicesOf(spec, spec.replicas, hardware)
  const most = scaling.autoscalingEnabled ? scaling.maxReplicas : spec.replicas
  const all = shape === null ? [] : fitsOn(shape, hardware.all(), fitWish)
  return {
    name: wish.name,
    spec,
    scaling,
    preset: wish.preset ?? null,
    engineSettings: settings,
    choices,
    fits,
    runsOn: all.filter(({ fit }) => fit.verdict !== 'does_not_fit'),
    cheapest: all.find(({ fit }) => fit.verdict === 'fits') ?? null,
    advice: shape === null ? null : adviceOn(shape, fits, fitWish, { hardware }, wish, floorOf(scaling)),
    hourlyCost: hourlyNow([], spec.replicas, choices, ceilingOf(spec)),
    hourlyCostMax: hourlyMost(most, choices, ceilingOf(spec)),
    servedBy: models.standIn(spec.modelId),
  }
}

function adviceOn(
  shape: ModelShape,
  fits: readonly ChoiceFit[],
  fitWish: FitWish,
  { hardware }: Pick<DeploymentContext, 'hardware'>,
  wish: DeploymentWish,
  replicas: number,
): Advice | null {
  const first = fits[0]!
  const type = hardware.get(first.wanted.gpuType)
  // More or fewer GPUs: nothing to say of what has none.
  if (first.fit === null || type === null || type.gpusPerUnit === 0) return null
  const concurrency = wish.limits?.concurrency ?? wish.engine?.maxNumSeqs ?? null
  return advise(shape, type, first.wanted.gpuCount, fitWish, {
    replicas,
    concurrency,
    wantsLatency: wish.preset === 'latency',
  })
}

interface Tried {
  wish: DeploymentWish
  made: MadeSpec
  scaling: ScalingPolicy
  replicas: number
  market: Market
}

/** Everything at once, where a create says the first. */
async function refusals(
  context: DeploymentContext,
  { orgId }: Principal,
  asked: DeploymentWish,
  { wish, made, scaling, replicas, market }: Tried,
): Promise<Fault[]> {
  const { spec } = made
  const found = [
    made.missing,
    refusalOf(() => {
      if (!wish.force) refuseMisfit(made, context.hardware)
    }),
    refusalOf(() => {
      if (wish.preset !== undefined && asked.gpuType === undefined && asked.hardware === undefined)
        checkPresetHardware(wish.preset, market.offers, context.hardware, hardwareAtCreate)
    }),
    refusalOf(() => {
      if (wish.failFast) checkRoom({ id: null, orgId, spec, replicas }, market, context)
    }),
  ]
  const taken = await store.deploymentOf(context.db, orgId, wish.name)
  if (taken !== null && taken.name === wish.name)
    found.push(new Fault('name_taken', `There is a deployment "${wish.name}" already.`))
  const holding = { id: null, spec, scaling, desiredReplicas: replicas }
  const quota = await context.db.tx((tx) => checkQuota(tx, orgId, holding, context)).catch(toRefusal)
  return [...found, quota ?? null].filter((fault) => fault !== null)
}

function refusalOf(check: () => void): Fault | null {
  try {
    check()
    return null
  } catch (thrown) {
    return toRefusal(thrown)
  }
}

/** What has no meaning for the caller is no refusal but an error. */
function toRefusal(thrown: unknown): Fault {
  const fault = toFault(thrown)
  if (fault.code === 'internal') throw thrown
  return fault
}
