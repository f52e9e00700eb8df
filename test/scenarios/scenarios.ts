/** The scenarios of the golden transcripts. */
import { daylightSaving } from './daylight-saving.ts'
import type { Stage, StageOptions } from './stage.ts'

export interface Scenario {
  /** Name of the transcript. */
  file: string
  title: string
  about: string
  stage?: StageOptions
  /** What stands before a line; default: the time since it began. */
  timeText?(at: number): string
  play(stage: Stage): Promise<void>
}

const coldStart: Scenario = {
  file: 'cold-start',
  title: 'Cold start',
  about:
    'A deployment is created on hardware that takes its time. Requests that come before it is ready are held, and answered when it is.',
  stage: {
    script: {
      start: { hardware_seconds: 20, files_seconds: 8 },
      engine_args: ['--load-seconds=6', '--warmup-seconds=2'],
    },
  },
  async play(stage) {
    await stage.deploy('demo', { replicas: 1, region: 'nyc2' }, 'deploys demo: one replica on 1 × h100 in nyc2')
    await stage.pass(5)
    await stage.ask('demo', 3, 'three clients ask')
    await stage.until('demo', 'serving')
    await stage.pass(2)
    await stage.ask('demo', 0, 'the clients are done')
    await stage.pass(60)
    stage.note(`demo has cost ${await stage.cost('demo')}: $4.41 an hour from the moment it answered`)
  },
}

const burstThenQuiet: Scenario = {
  file: 'burst-then-quiet',
  title: 'Burst, then quiet',
  about:
    'A deployment that may sleep is asked by one client, then by forty, then by nobody. It grows as fast as it is asked, shrinks one at a time after its cooldown, sleeps after its idle timeout, and wakes for the next request.',
  stage: { everySeconds: 2 },
  async play(stage) {
    const scaling = {
      policy: 'target' as const,
      minReplicas: 1,
      maxReplicas: 8,
      scaleToZero: true,
      cooldownSeconds: 130,
    }
    const wish = { scaling, region: 'nyc2', engine: { maxNumSeqs: 8 } }
    await stage.deploy(
      'chat',
      wish,
      'deploys chat: 1 to 8 replicas by load, 8 requests at once each, asleep after 300 s',
    )
    await stage.until('chat', 'serving')
    await stage.ask('chat', 1, 'one client asks, again and again')
    await stage.pass(60)
    await stage.ask('chat', 40, 'forty clients ask')
    await stage.pass(180)
    await stage.ask('chat', 0, 'nobody asks any more')
    await stage.until('chat', 'asleep', 3_000)
    await stage.pass(60)
    stage.note(`the provider has ${await stage.machines()} machines, chat has cost ${await stage.cost('chat')}`)
    await stage.ask('chat', 1, 'one client asks')
    await stage.until('chat', 'serving')
  },
}

const capacityShort: Scenario = {
  file: 'capacity-short',
  title: 'Capacity short',
  about:
    'Three h100 in one region and two deployments that want two each. The second starts with what there is and says what it waits for; the third waits in line. What frees goes to whoever has waited longest.',
  stage: { script: { units: { h100: 0, 'h100/nyc2': 3 } } },
  async play(stage) {
    const wish = { replicas: 2, region: 'nyc2' }
    await stage.deploy('first', wish, 'deploys first: two replicas on h100 in nyc2, where there are three')
    await stage.until('first', 'serving')
    await stage.deploy('second', wish, 'deploys second: two more')
    await stage.pass(5)
    await stage.deploy('third', { ...wish, replicas: 1 }, 'deploys third: one more')
    await stage.pass(20)
    await stage.ask('third', 2, 'two clients ask for third')
    await stage.pass(10)
    await stage.person('deletes first', () =>
      stage.deployments.remove(stage.operator, 'first', { onlyIfStopped: false }),
    )
    await stage.until('third', 'serving')
    await stage.pass(20)
  },
}

const outOfMemory = ['--fail-at=load', '--say=loading shard 3 of 9', '--say=CUDA out of memory']

const badImage: Scenario = {
  file: 'bad-image',
  title: 'Bad image',
  about:
    'An engine that never starts. It is tried again, ever more rarely, then no more: the deployment has failed, says why with the engine’s last words, and costs nothing. A request is refused at once. Corrected and started, it serves.',
  async play(stage) {
    const engine = { additionalArgs: outOfMemory }
    await stage.deploy(
      'broken',
      { replicas: 1, region: 'nyc2', engine },
      'deploys broken: its engine runs out of memory',
    )
    await stage.until('broken', 'failed')
    await stage.pass(600)
    stage.note(`the provider has ${await stage.machines()} machines, broken has cost ${await stage.cost('broken')}`)
    await stage.person('takes the wrong arguments away: revision 2', () =>
      stage.lifecycle.change(stage.operator, 'broken', { engine: { additionalArgs: [] } }),
    )
    await stage.person('starts it', () => stage.lifecycle.start(stage.operator, 'broken'))
    await stage.until('broken', 'serving')
  },
}

const rollForward: Scenario = {
  file: 'roll-forward',
  title: 'Roll forward',
  about:
    'Three replicas under load get another setting. One new one at a time comes beside them; when it answers, an old one finishes what it has and goes. There are never fewer than three that answer.',
  async play(stage) {
    const wish = { replicas: 3, region: 'nyc2' }
    await stage.deploy('steady', wish, 'deploys steady: three replicas')
    await stage.until('steady', 'serving')
    await stage.ask('steady', 6, 'six clients ask, again and again')
    await stage.pass(10)
    await stage.person('changes steady: 16 requests at once for each engine, revision 2', () =>
      stage.lifecycle.change(stage.operator, 'steady', { engine: { maxNumSeqs: 16 } }),
    )
    await stage.until('steady', 'serving')
    await stage.pass(20)
  },
}

const rollBack: Scenario = {
  file: 'failing-revision-rolls-back',
  title: 'A failing revision rolls back',
  about:
    'The new revision does not start. The old replicas serve on; after two failed starts the revision is given up, with the reason, and nothing else changes.',
  async play(stage) {
    const wish = { replicas: 2, region: 'nyc2' }
    await stage.deploy('careful', wish, 'deploys careful: two replicas')
    await stage.until('careful', 'serving')
    await stage.ask('careful', 4, 'four clients ask, again and again')
    await stage.pass(10)
    await stage.person('changes careful: arguments with which its engine runs out of memory, revision 2', () =>
      stage.lifecycle.change(stage.operator, 'careful', { engine: { additionalArgs: outOfMemory } }),
    )
    await stage.until('careful', 'serving')
    await stage.pass(60)
    stage.note(`the provider has ${await stage.machines()} machines`)
  },
}

const restartMidCreate: Scenario = {
  file: 'restart-mid-create',
  title: 'Restart in the middle of a create',
  about:
    'Control is killed at the worst moment: the provider has made the machine, and nobody was told. The next process finds the replica’s row, asks again under the same id, and gets the machine that is there. A phantom, which no row owns, is swept away.',
  async play(stage) {
    stage.dieAtNextCreate()
    await stage.deploy('lucky', { replicas: 1, region: 'nyc2' }, 'deploys lucky: one replica')
    await stage.pass(3)
    stage.trouble({ what: 'phantom', region: 'nyc2' }, 'a machine turns up that nobody asked for')
    stage.note(`the provider has ${await stage.machines()} machines`)
    await stage.restart('control is started again')
    await stage.until('lucky', 'serving')
    await stage.pass(40)
    stage.note(`the provider has ${await stage.machines()} machine`)
  },
}

export const scenarios: Scenario[] = [
  coldStart,
  burstThenQuiet,
  capacityShort,
  badImage,
  rollForward,
  rollBack,
  restartMidCreate,
  ...daylightSaving,
]
