/** `paddock gpus` and `paddock models`: what can be deployed. */
import type { AddModel, GpuType, Model } from '../wire/native/catalogue.ts'
import { readJson } from './json-file.ts'
import type { Session } from './session.ts'
import { type Column, tableLines } from './table.ts'
import { usdShown } from './words.ts'

export async function gpus({ screen, client }: Session): Promise<void> {
  const list = await client.listGpuTypes()
  const columns: Column<GpuType>[] = [
    { title: 'GPU', cell: (type) => type.gpu_type },
    { title: 'HARDWARE', cell: (type) => type.name + markOf(type), shrinksTo: 10 },
    { title: 'MEMORY', cell: (type) => (type.vram_gb === 0 ? '-' : `${type.vram_gb} GB`), right: true },
    { title: 'COUNTS', cell: (type) => type.gpu_counts.join(',') },
    {
      title: '$/HOUR',
      cell: (type) => (type.hourly_cost_usd === null ? '-' : usdShown(type.hourly_cost_usd)),
      right: true,
    },
    { title: 'FREE', cell: freeText, right: true },
    { title: 'REGIONS', cell: (type) => type.regions.join(','), shrinksTo: 8 },
    { title: 'DEPLOYABLE', cell: (type) => yesOr(type), shrinksTo: 10 },
  ]
  screen.answer(list, () => tableLines(columns, list.data, screen.columns))
}

export async function models({ screen, client }: Session, options: { deployable?: boolean } = {}): Promise<void> {
  const list = await client.listModels(options.deployable ? { deployable: true } : {})
  const columns: Column<Model>[] = [
    { title: 'MODEL', cell: (model) => model.id + (model.gated ? ' (gated)' : ''), shrinksTo: 16 },
    { title: 'CONTEXT', cell: (model) => String(model.context_size), right: true },
    { title: 'TENSORS', cell: (model) => model.tensor_type },
    { title: 'CAN', cell: (model) => model.capabilities.join(','), shrinksTo: 10 },
    { title: 'ANSWERED BY', cell: (model) => model.served_by ?? model.id, shrinksTo: 11 },
    { title: 'DEPLOYABLE', cell: (model) => yesOr(model), shrinksTo: 10 },
  ]
  screen.answer(list, () => tableLines(columns, list.data, screen.columns))
}

/** `file`: its entry as JSON, "-" = standard input. */
export async function addModel(
  { screen, client }: Session,
  file: string,
  options: { replace?: boolean },
): Promise<void> {
  const body = (await readJson(file, 'The reference shows an entry: /docs/api.')) as AddModel
  const added = await client.addModel(options.replace ? { ...body, replace: true } : body)
  screen.answer(added, () => `${added.id} is in the catalogue. Deploy it:  paddock deploy ${added.id}`)
}

/** Of the catalogue, or an upload of the organisation. */
export async function removeModel({ screen, client }: Session, id: string): Promise<void> {
  const upload = 'byom:'
  const gone = id.startsWith(upload)
    ? await client.deleteUploadedModel(id.slice(upload.length))
    : await client.removeModel(id)
  screen.answer(gone, () => `${id} is gone.`)
}

/** Free of all units, all regions together. */
function freeText({ availability }: GpuType): string {
  if (availability === null) return '?'
  const sum = (of: (one: NonNullable<GpuType['availability']>[number]) => number) =>
    availability.reduce((total, one) => total + of(one), 0)
  return availability.length === 0 ? '-' : `${sum((one) => one.free_units)}/${sum((one) => one.total_units)}`
}

/** What is not what it is called. */
function markOf({ availability }: GpuType): string {
  if (!availability?.some(({ emulated }) => emulated)) return ''
  return availability.some(({ simulated }) => simulated) ? ' (simulated)' : ' (emulated)'
}

function yesOr(thing: { deployable: boolean; reason: string | null }): string {
  return thing.deployable ? 'yes' : `no: ${thing.reason ?? 'not on this server'}`
}
