/** Metrics of control, in Prometheus' text format. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

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

export function makeMetrics(version: string, sources: readonly GaugeSource[]): ApiMetrics {
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
