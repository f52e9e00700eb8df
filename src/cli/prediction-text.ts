/** What a dry run said, for people: the verdict of each choice, the facts behind it, and all hardware that would do. */
import type { Fit } from '../wire/native/fit.ts'
import type { Prediction } from '../wire/native/prediction.ts'
import { reasonIn } from './failure.ts'
import type { Screen } from './screen.ts'
import { type Column, tableLines } from './table.ts'
import { oneLine } from './width.ts'
import { usdShown } from './words.ts'

type Row = Prediction['runs_on'][number]

export function predictionLines(predicted: Prediction, screen: Pick<Screen, 'columns'>): string[] {
  const columns: Column<Row>[] = [
    { title: 'GPU', cell: ({ gpu_type }) => gpu_type },
    { title: 'COUNT', cell: ({ gpu_count }) => String(gpu_count), right: true },
    { title: '$/HOUR', cell: ({ hourly_cost_usd }) => usdShown(hourly_cost_usd), right: true },
    { title: 'VERDICT', cell: (row) => verdictText(row.fit.verdict) },
    { title: 'CONTEXT', cell: (row) => String(row.fit.context), right: true },
    { title: 'AT ONCE', cell: (row) => String(row.fit.concurrency), right: true },
  ]
  const table = predicted.runs_on.length === 0 ? [] : ['', ...tableLines(columns, predicted.runs_on, screen.columns)]
  return [...headLines(predicted), ...factLines(predicted), ...table]
}

function headLines({ model_id, hardware }: Prediction): string[] {
  return hardware.flatMap(({ gpu_type, gpu_count, fit: own, skipped }) => {
    const on = `${model_id} on ${gpu_count} × ${gpu_type}`
    if (own === null) return [`${on}: memory is not checked.`, ...(skipped === null ? [] : [`  ${skipped}`])]
    return [`${on}: ${verdictText(own.verdict)}. ${own.why}`, ...(skipped === null ? [] : [`  ${skipped}`])]
  })
}

function factLines(predicted: Prediction): string[] {
  const { fit: own, engine, price, cheapest, advice, refusals, served_by } = predicted
  const best =
    cheapest === null
      ? 'none that is known here'
      : `${cheapest.gpu_count} × ${cheapest.gpu_type}, ${usdShown(cheapest.hourly_cost_usd)}/hour`
  return [
    ...(own === null ? [] : fitFacts(own)),
    fact('Engine', engine.why),
    ...presetLines(predicted),
    fact('Price', priceText(price)),
    fact('Cheapest', best),
    ...(advice === null ? [] : [fact('Advice', advice.why), ...conditionLines(advice)]),
    ...(served_by === null ? [] : [fact('Here', `${served_by} answers in its place.`)]),
    ...refusals.map((refusal) => fact('Refused', `a create would be, now: ${refusalText(refusal)}`)),
  ]
}

function refusalText({ message, detail }: Prediction['refusals'][number]): string {
  const reason = reasonIn(detail, message)
  return oneLine(reason === '' ? message : `${message}: ${reason}`)
}

function fitFacts(own: Fit): string[] {
  const cache = own.cache_gib > 0 ? `${own.cache_gib} GiB for context` : 'none for context'
  const where = own.gpus === 0 ? 'of this machine' : own.gpus === 1 ? 'on the GPU' : `on each of ${own.gpus} GPUs`
  const memory = `${own.weights_gib} GiB weights, ${own.overhead_gib} GiB engine, ${cache}, ${where}`
  const room = `${own.context} tokens, ${own.concurrency} at once; the longest that fits has ${own.largest_context}`
  return [fact('Memory', memory), ...(own.largest_context > 0 ? [fact('Context', room)] : [])]
}

function presetLines({ preset, engine }: Prediction): string[] {
  if (preset === null) return []
  const sets = engine.preset_sets.length === 0 ? 'nothing of the engine' : engine.preset_sets.join(' ')
  return [fact('Preset', `${preset} sets ${sets}`), ...engine.preset_leaves_out.map((why) => fact('', why))]
}

function priceText(price: Prediction['price']): string {
  const { hourly_cost_usd: hourly, hourly_cost_max_usd: most } = price
  const top = most > hourly ? `, at most ${usdShown(most)}/hour` : ''
  return `${usdShown(hourly)}/hour, ${usdShown(price.daily_cost_usd)}/day, ${usdShown(price.monthly_cost_usd)}/month${top}; asleep nothing`
}

function conditionLines({ conditions }: NonNullable<Prediction['advice']>): string[] {
  const applying = conditions.filter(({ applies }) => applies)
  return applying.map(({ condition, why }) => fact('', `${condition.replaceAll('_', ' ')}: ${why}`))
}

function fact(title: string, text: string): string {
  return `  ${title.padEnd(9)} ${text}`
}

function verdictText(verdict: Fit['verdict']): string {
  return verdict === 'does_not_fit' ? 'does not fit' : verdict
}
