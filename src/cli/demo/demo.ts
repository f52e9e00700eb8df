/**
 * `paddock demo`: the main job on this machine, told to a person. Starts a server of its own, deploys, asks, shows what
 * it cost. With `exit` it tears everything down at the end; else it stays until Ctrl-C. However it ends, it leaves no
 * process behind: the `finally` below stops the server, and the server's input pipe closes should this process be killed.
 */
import { systemClock as clock } from '../../runtime/clock.ts'
import { environment } from '../../runtime/environment.ts'
import { systemFolder } from '../../runtime/isolation.ts'
import { ApiError, NativeClient } from '../../wire/native/client.ts'
import type { Deployment } from '../../wire/native/deployment.ts'
import type { StreamedAnswer } from '../answer-stream.ts'
import { statsText } from '../chat.ts'
import { hardwareText } from '../deployment-text.ts'
import { exitStatus, Failure, failureText, Interrupted, toFailure } from '../failure.ts'
import { type Interruption, onInterrupt } from '../interrupt.ts'
import type { Screen } from '../screen.ts'
import { fromApi } from '../session.ts'
import { checkedPort } from '../target.ts'
import { momentText, usdShown } from '../words.ts'
import { nextSteps, opening } from './page.ts'
import { choosePlace, keepLog, type Place, removePlace } from './place.ts'
import { choosePort } from './port.ts'
import { DemoServer } from './server.ts'
import { Story } from './story.ts'
import { createDemo, demoModel, endDemo, question, type Talk, tellAnswer, tellStart } from './talk.ts'

export interface DemoWish {
  exit: boolean
  port: string | undefined
  data: string | undefined
}

const usualPort = 8080

/** Resolves with the exit status when everything is stopped. */
export async function demo(screen: Screen, wish: DemoWish): Promise<number> {
  const wantedPort = wish.port === undefined ? usualPort : wish.port === '0' ? 0 : checkedPort(wish.port)
  const running: Running = { server: null, place: null }
  // A second Ctrl-C: no more patience, but still nothing left behind.
  const interruption = onInterrupt((signal) => {
    running.server?.kill()
    if (running.place) removeQuietly(running.place)
    process.exit(new Interrupted(signal).status)
  })
  endWithTerminal(interruption)
  const story = new Story(screen, clock)
  try {
    running.place = choosePlace(wish)
    return await tell({ screen, story, wish, wantedPort, running, interruption })
  } catch (error) {
    return sayFailure(screen, running, error)
  } finally {
    await stopAll(story, running)
    interruption.release()
  }
}

interface Running {
  server: DemoServer | null
  place: Place | null
}

interface Telling {
  screen: Screen
  story: Story
  wish: DemoWish
  wantedPort: number
  running: Running
  interruption: Interruption
}

async function tell(telling: Telling): Promise<number> {
  const { screen, story, wish, running, interruption } = telling
  const { signal } = interruption
  for (const line of opening(screen.paint)) story.say(line)
  const server = await startServer(telling)
  const operator = server.operatorKey()
  const client = new NativeClient({ url: server.url, key: operator.key })
  const talk: Talk = { client, story, clock, signal }
  const { deployment: created } = await story.step('deployment', () => createDemo(talk), createdText)
  const serving = await tellStart(talk, created)
  const answer = await tellQuestion(telling, talk, serving)
  const after = await client.getDeployment(serving.id, signal)
  story.say(`  ${[statsText(answer), costText(after)].join(' · ')}`)
  story.say()
  const report = makeReport(telling, after, answer)
  if (wish.exit) {
    await story.step('torn down', () => endDemo(talk, after), goneText)
    screen.answer(report, () => `  The whole demo took ${momentText(story.elapsedMs())}.`)
    return exitStatus.ok
  }
  const place = running.place!
  const steps = nextSteps({ url: server.url, place, key: operator.key, usualPort, paint: screen.paint })
  screen.answer(report, () => steps)
  return stay(telling, server)
}

async function startServer({ story, wantedPort, running, interruption }: Telling): Promise<DemoServer> {
  const place = running.place!
  const { port, taken } = await choosePort(wantedPort)
  if (taken) story.say(`  Port ${wantedPort} is taken by another program; using ${port}.`)
  interruption.check()
  const server = new DemoServer(place, port, clock)
  running.server = server
  const { signal } = interruption
  await story.step(
    'database',
    () => server.databaseReady(signal),
    () => `Postgres, embedded; data in ${place.folder}`,
  )
  await story.step(
    'server',
    () => server.ready(signal),
    () => server.url,
  )
  return server
}

async function tellQuestion({ screen, story }: Telling, talk: Talk, deployment: Deployment): Promise<StreamedAnswer> {
  story.say()
  story.say(`  ${screen.paint('cyan', 'you ›')} ${question}`)
  screen.write(`  ${screen.paint('cyan', 'demo ›')} `)
  try {
    return await tellAnswer(talk, deployment, (text) => screen.write(text))
  } finally {
    story.say('\n')
  }
}

/** Until Ctrl-C, or until the server ends by itself. */
async function stay({ screen, interruption }: Telling, server: DemoServer): Promise<number> {
  const asked = new Promise<'asked'>((resolve) => {
    if (interruption.signal.aborted) resolve('asked')
    interruption.signal.addEventListener('abort', () => resolve('asked'), { once: true })
  })
  if ((await Promise.race([asked, server.ended])) !== 'asked') throw server.failure()
  // The terminal has written "^C".
  if (screen.live) screen.write('\n')
  return exitStatus.ok
}

function createdText({ deployment, found }: { deployment: Deployment; found: boolean }): string {
  const what = `${deployment.name}: ${demoModel} on ${hardwareText(deployment)}, ${usdShown(deployment.hourly_cost_usd)}/hour`
  return found ? `${what}, there from the last time` : what
}

function costText(deployment: Deployment): string {
  return `cost so far ${usdShown(deployment.cost_usd)} at ${usdShown(deployment.hourly_cost_usd)}/hour`
}

function goneText(deployment: Deployment): string {
  return `billing stopped at ${usdShown(deployment.cost_usd)}; ${usdShown(0)}/hour from now on`
}

function makeReport({ story, running, wish }: Telling, deployment: Deployment, answer: StreamedAnswer): unknown {
  return {
    url: running.server!.url,
    data_folder: wish.exit && running.place!.temporary ? null : running.place!.folder,
    deployment,
    steps: story.steps.map(({ name, ms }) => ({ name, ms: Math.round(ms) })),
    answer: {
      text: answer.text,
      usage: answer.usage,
      ttft_ms: answer.ttftMs,
      tokens_per_second: answer.tokensPerSecond,
    },
    total_ms: Math.round(story.elapsedMs()),
  }
}

/** The sentence, where the log is, and its last lines. */
function sayFailure(screen: Screen, running: Running, error: unknown): number {
  if (error instanceof Interrupted) return error.status
  const failure = inWords(error)
  const { server, place } = running
  if (screen.json || server === null || place === null) {
    screen.fail(failure)
    return failure.status
  }
  const lines = server.lastLines()
  screen.note(`\n${screen.paint('red', failureText(failure))}`)
  screen.note(`The server’s log is ${keepLog(place)}${lines.length > 0 ? '; it ends with:' : ', and it is empty.'}`)
  for (const line of lines) screen.note(`  ${line}`)
  return failure.status
}

function inWords(error: unknown): Failure {
  if (!(error instanceof ApiError)) return toFailure(error)
  if (error.code !== 'unreachable') return fromApi(error)
  return new Failure(exitStatus.failed, error.code, 'The demo’s server does not answer any more.', '', { cause: error })
}

/** Stops the server and removes what was only for this run. */
async function stopAll(story: Story, { server, place }: Running): Promise<void> {
  if (server !== null)
    await story.step(
      'stopped',
      () => server.stop(),
      (clean) => stoppedText(clean, place!),
    )
  if (place !== null) removeQuietly(place)
}

function stoppedText(clean: boolean, place: Place): string {
  const how = clean ? 'nothing is left running' : 'not in good order: what was left was killed'
  return place.temporary ? how : `${how}; the data stays in ${place.folder}`
}

function removeQuietly(place: Place): void {
  try {
    removePlace(place, environment().PADDOCK_SYSTEM_FOLDER ?? systemFolder)
  } catch {
    // A folder that stays is no reason to fail after everything went well.
  }
}

/** A terminal that was closed cannot be written to any more; the server must still be stopped. */
function endWithTerminal(interruption: Interruption): void {
  for (const stream of [process.stdout, process.stderr])
    stream.removeAllListeners('error').on('error', () => {
      if (!interruption.signal.aborted) interruption.interrupt('SIGHUP')
    })
}
