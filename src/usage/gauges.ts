/** What the gateways say of their journals, for /metrics. */
import type { JournalState } from './journal/journal.ts'
import type { ShipperState } from './journal/shipper.ts'

/** What a gateway reports; {} before its first look. */
export type JournalReport = Partial<JournalState & ShipperState>

interface Gauge {
  name: string
  help: string
  labelNames: readonly string[]
  read(): Promise<{ labels: Record<string, string>; value: number }[]>
}

const gauges: { name: string; help: string; value(report: JournalReport): number }[] = [
  {
    name: 'writable',
    help: '1 while the journal can be written; 0: see /readyz.',
    value: ({ problem }) => (problem === null ? 1 : 0),
  },
  { name: 'bytes', help: 'Of the journal on disk, not in the database yet.', value: ({ bytes }) => bytes ?? 0 },
  {
    name: 'waiting_requests',
    help: 'Settled while the disk was full, not written yet.',
    value: ({ waiting }) => waiting ?? 0,
  },
  {
    name: 'unrecorded_requests',
    help: 'Served without being counted since the gateway started.',
    value: ({ unrecorded }) => unrecorded ?? 0,
  },
  {
    name: 'rejected_requests',
    help: 'Not taken by the ledger since the gateway started, kept in rejected.log.',
    value: ({ rejected }) => rejected ?? 0,
  },
]

/** `reports` is asked once for all of them; while it cannot answer there are no values. */
export function journalGauges(reports: () => Promise<{ id: string; journal: JournalReport }[]>): Gauge[] {
  let asking: ReturnType<typeof reports> | null = null
  const ask = () => {
    asking ??= reports()
      .catch(() => [])
      .finally(() => {
        asking = null
      })
    return asking
  }
  return gauges.map(({ name, help, value }) => ({
    name: `paddock_journal_${name}`,
    help,
    labelNames: ['gateway'],
    read: async () => (await ask()).map(({ id, journal }) => ({ labels: { gateway: id }, value: value(journal) })),
  }))
}
