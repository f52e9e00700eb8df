/** A schedule over both changes of clocks, in the time of those who live by it. */
import type { Scenario } from './scenarios.ts'
import type { Stage } from './stage.ts'

const timezone = 'Europe/Berlin'
const hour = 3_600_000

const wall = new Intl.DateTimeFormat('en-GB', {
  timeZone: timezone,
  weekday: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'shortOffset',
})

/** "Sun 03:00:00 GMT+2". */
function wallText(at: number): string {
  return wall.format(at).replace(',', '')
}

const everyDay = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const

/** By night two replicas from 22:00 to 02:30, then asleep until 06:00; by day its own policy. */
async function aNight(stage: Stage): Promise<void> {
  const scaling = { policy: 'steps' as const, minReplicas: 1, maxReplicas: 4 }
  await stage.deploy('nightly', { scaling, region: 'nyc2' }, 'deploys nightly: 1 to 4 replicas')
  await stage.until('nightly', 'serving')
  const days = [...everyDay]
  await stage.person('gives it a schedule: 2 to 4 from 22:00 to 02:30, asleep from 02:30 to 06:00, in Berlin', () =>
    stage.schedules.put(stage.operator, 'nightly', {
      windows: [
        { days, from: '22:00', to: '02:30', timezone, action: 'scale', minReplicas: 2, maxReplicas: 4 },
        { days, from: '02:30', to: '06:00', timezone, action: 'sleep' },
      ],
    }),
  )
  await stage.pass((11 * hour) / 1000)
}

export const daylightSaving: Scenario[] = [
  {
    file: 'schedule-clocks-forward',
    title: 'A schedule when clocks are set forward',
    about:
      'The night of 28 to 29 March 2026 in Berlin: after 01:59:59 comes 03:00:00. A window that ends and one that begins at 02:30, which never comes, meet at the moment of the change.',
    stage: { beginsAt: Date.UTC(2026, 2, 28, 19), everySeconds: 300 },
    timeText: wallText,
    play: aNight,
  },
  {
    file: 'schedule-clocks-back',
    title: 'A schedule when clocks are set back',
    about:
      'The night of 24 to 25 October 2026 in Berlin: after 02:59:59 comes 02:00:00 again. A window that ends and one that begins at 02:30 meet at the first of the two.',
    stage: { beginsAt: Date.UTC(2026, 9, 24, 18), everySeconds: 300 },
    timeText: wallText,
    play: aNight,
  },
]
