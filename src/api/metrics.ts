/** Metrics of control, in Prometheus' text format. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from 'prom-client'
import { type Family, type FamilyName, families, type Points } from '../usage/metrics/families.ts'

/** A number that somebody else knows, read when it is asked for. */
export interface GaugeSource {
  name: string
  help: string
  labelNames: readonly string[]
  read(): Promise<{ labels: Record<string, string>; value: number }[]>
}

export interface ApiMetrics {
  contentType: string
  observe(operation: string, status: number, seconds: number): void
  text(): Promise<string>
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Reads what the gateways have measured; null: this app has none. */
export type ReadPoints = (() => Promise<Points>) | null

export function makeMetrics(version: string, sources: readonly GaugeSource[], read: ReadPoints): ApiMetrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const labelNames = ['operation', 'status'] as const
  const requests = new Counter({ name: 'paddock_api_requests_total', help: 'Answers given.', labelNames, registers })
  const seconds = new Histogram({
    name: 'paddock_api_request_seconds',
    help: 'Time to answer.',
    labelNames: ['operation'],
    buckets: secondsBuckets,
    registers,
  })
  const build = new Gauge({ name: 'paddock_build_info', help: 'Always 1.', labelNames: ['version'], registers })
  build.set({ version }, 1)
  for (const source of sources) addGauge(source, registers)
  if (read !== null) addFamilies(registry, read)
  return {
    contentType: registry.contentType,
    observe(operation, status, took) {
      requests.inc({ operation, status: String(status) })
      seconds.observe({ operation }, took)
    },
    text: () => registry.metrics(),
  }
}

function addGauge(source: GaugeSource, registers: Registry[]): void {
  new Gauge({
    name: source.name,
    help: source.help,
    labelNames: [...source.labelNames],
    registers,
    async collect() {
      const samples = await source.read()
      this.reset()
      for (const { labels, value } of samples) this.set(labels, value)
    },
  })
}

/** Families whose values are not ours: all of them are read once for every time that somebody asks. */
function addFamilies(registry: Registry, read: () => Promise<Points>): void {
  let reading: Promise<Points> | null = null
  const points = () => {
    // While the database cannot answer there are no values.
    reading ??= read()
      .catch(() => ({}))
      .finally(() => {
        reading = null
      })
    return reading
  }
  for (const name of Object.keys(families) as FamilyName[]) {
    const { help, type }: Family = families[name]
    const get = async () => {
      const values = ((await points())[name] ?? []).map(({ suffix = '', labels, value }) => {
        return { metricName: name + suffix, labels, value }
      })
      return { name, help, type, values, aggregator: 'sum' }
    }
    // What prom-client asks of a metric; its own kinds count for themselves and take no finished buckets.
    registry.registerMetric({ name, help, get, reset() {} } as unknown as Metric)
  }
}
