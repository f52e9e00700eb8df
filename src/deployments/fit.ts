/**
 * The fit check of a deployment: every choice of its hardware against the model and what its engine is told. Not checked:
 * a model that nobody knows enough of, and on a CPU what llama.cpp does not run. Pure.
 */
import type { EngineDriver, EngineSpec } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import type { NamedModel } from '../models/catalogue.ts'
import { canCheck, cheapestFit, checkFit, type Fit, type FitWish, usualWish } from '../models/fit/check.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import { engineSettings } from './engine-settings.ts'
import type { Wanted } from './place.ts'

export interface ChoiceFit {
  wanted: Wanted
  /** null = not checked. */
  fit: Fit | null
}

/** In the order of the choices. */
export function fitsOf(
  hardware: readonly Wanted[],
  named: NamedModel,
  wish: FitWish,
  catalogue: HardwareCatalogue,
): ChoiceFit[] {
  return hardware.map((wanted) => {
    const type = catalogue.get(wanted.gpuType)
    const checked = named.shape !== null && type !== null && canCheck(named.shape, type)
    return { wanted, fit: checked ? checkFit(named.shape!, type, wanted.gpuCount, wish) : null }
  })
}

/**
 * What the engine's settings ask of memory. llama.cpp takes the room of all its sequences at the start, used or not; the
 * others want one sequence and share the rest out as it comes.
 */
export function fitWishOf(asked: EngineSpec, named: NamedModel, driver: EngineDriver | undefined): FitWish {
  const preset = engineSettings(asked, driver, named.shape?.quantization ?? null, someGpu)
  const engine = { ...asked, additionalArgs: [...preset.args, ...asked.additionalArgs] }
  const context = engine.maxModelLen ?? null
  if (named.format === 'gguf' && named.shape !== null && driver !== undefined && engine.type !== 'simulated') {
    const limits = driver.limits(engine, named.shape)
    return { ...usualWish, ...limits, ...cacheBytes(engine, ['--cache-type-k', '--cache-type-v']) }
  }
  const share = Number(settingOf(engine, ['--gpu-memory-utilization', '--mem-fraction-static']))
  const toEightBit = /^fp8/.test(settingOf(engine, ['--quantization', '-q']) ?? '')
  return {
    ...usualWish,
    ...(toEightBit && named.shape?.quantization === null ? { weightShare: eightBitShare } : {}),
    contextTokens: context,
    ...(share > 0 && share <= 1 ? { memoryShare: share } : {}),
    ...cacheBytes(engine, ['--kv-cache-dtype']),
  }
}

/** What is said of memory is the same on all of them. */
const someGpu = { name: '', gpusPerUnit: 1 }

/** Of 16 bit weights that the engine makes 8 bit as it loads them: embeddings and head stay as they are. */
const eightBitShare = 0.57

/** Names of 8 bit and 4 bit caches; what is not known counts as the model's own. */
function cacheBytes(engine: EngineSpec, flags: readonly string[]): Pick<FitWish, 'cacheElementBytes'> | object {
  const values = flags.map((flag) => settingOf(engine, [flag]))
  const bytes = values.map((value) => {
    if (value === undefined) return null
    if (/^(fp8|int8)/.test(value)) return 1
    if (value === 'q8_0') return 34 / 32
    if (/^(q4|iq4)/.test(value)) return 20 / 32
    return /^q5/.test(value) ? 24 / 32 : null
  })
  // Of two kinds of cache both must be small: one that is not known is as the model's own.
  if (bytes.some((one) => one === null)) return {}
  return { cacheElementBytes: Math.max(...(bytes as number[])) }
}

/** "--flag value" and "--flag=value". */
function settingOf({ additionalArgs }: EngineSpec, flags: readonly string[]): string | undefined {
  for (const [at, argument] of additionalArgs.entries()) {
    if (flags.includes(argument)) return additionalArgs[at + 1]
    const flag = flags.find((name) => argument.startsWith(`${name}=`))
    if (flag !== undefined) return argument.slice(flag.length + 1)
  }
  return undefined
}

/**
 * The context that an engine must be told because the model's whole one has no room on some choice (vLLM would refuse to
 * start with it) or is more than the catalogue allows. null = it need not be told, or somebody named one.
 */
export function contextToTell(engine: EngineSpec, named: NamedModel, fits: readonly ChoiceFit[]): number | null {
  if (engine.maxModelLen !== undefined || (engine.type !== 'vllm' && engine.type !== 'sglang')) return null
  const able = fits.flatMap(({ fit }) => (fit === null || fit.verdict === 'does_not_fit' ? [] : [fit.context]))
  const { contextAllowed: allowed, shape } = named
  const least = Math.min(...able, allowed ?? Number.POSITIVE_INFINITY)
  const isLess = Number.isFinite(least) && (least === allowed || least < (shape?.contextSize ?? 0))
  return isLess ? least : null
}

/** Throws Fault `does_not_fit` with the numbers of every choice, and what would do, unless all choices do. */
export function refuseMisfit(
  { fits, fitWish, model }: { fits: readonly ChoiceFit[]; fitWish: FitWish; model: { named: NamedModel } },
  catalogue: HardwareCatalogue,
): void {
  const at = fits.findIndex(({ fit }) => fit?.verdict === 'does_not_fit')
  if (at < 0) return
  const { wanted, fit } = fits[at]!
  const { shape } = model.named
  const cheapest = shape === null ? null : cheapestFit(shape, catalogue.all(), fitWish)
  const named = fits.length === 1 ? '' : `hardware[${at}]: `
  const would = cheapest === null ? '' : ` The cheapest that does: ${cheapest.units} × ${cheapest.hardware.slug}.`
  throw new Fault('does_not_fit', `${named}${misfitText(wanted.gpuType, wanted.gpuCount, fit!)}${would}`, {
    detail: {
      gpu_type: wanted.gpuType,
      gpu_count: wanted.gpuCount,
      largest_context: fit!.largestContext,
      weights_gib: Number(fit!.weightsGib.toFixed(1)),
      cache_gib: Number(fit!.cacheGib.toFixed(1)),
      cheapest: cheapest === null ? null : { gpu_type: cheapest.hardware.slug, gpu_count: cheapest.units },
      ...(fits.length === 1 ? {} : { field: `hardware[${at}]` }),
    },
  })
}

export function misfitText(gpuType: string, units: number, fit: Fit): string {
  return `The model does not fit on ${units} × ${gpuType}. ${fit.why}`
}
