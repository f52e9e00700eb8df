/** `paddock explain`: why a deployment is as it is, how its replicas started, what happened lately. */
import type { Deployment } from '../wire/native/deployment.ts'
import type { Event, Explanation, Replica } from '../wire/native/explanation.ts'
import { deploymentPage, hardwareText, type Paint } from './deployment-text.ts'
import { aboutDeployment, type Session } from './session.ts'
import { startParts } from './start-parts.ts'
import { harmless, oneLine } from './width.ts'
import { elapsedText, timeShown } from './words.ts'

const eventsShown = 15
const lastLinesShown = 10

export async function explain({ screen, client, clock }: Session, name: string): Promise<void> {
  const explanation = await aboutDeployment(name, client.explainDeployment(name))
  screen.answer(explanation, () => explanationText(explanation, new Date(clock.now()), screen.paint))
}

export function explanationText(explanation: Explanation, now: Date, paint: Paint): string[] {
  const { deployment, why, replicas, events } = explanation
  return [
    ...deploymentPage(deployment, now.getTime(), paint),
    '',
    paint('bold', 'Why'),
    ...[...why, `Engine: ${explanation.engine_why}`].map((sentence) => `  ${oneLine(sentence)}`),
    ...coldStartText(explanation.cold_start, paint),
    ...(explanation.next_look_at ? [`  ${nextLook(explanation.next_look_at, now)}`] : []),
    '',
    paint('bold', 'Replicas'),
    ...(replicas.length === 0 ? ['  none'] : replicas.flatMap((replica) => replicaText(replica, deployment))),
    '',
    paint('bold', 'Recent events'),
    ...(events.length === 0 ? ['  none'] : events.slice(-eventsShown).map((event) => eventText(event, now))),
  ]
}

const fromWords: Record<NonNullable<Explanation['cold_start']>['from'], string> = {
  create: 'its creation',
  start: 'its start',
  wake: 'its wake',
  request: 'a request',
  replica: 'its hardware',
}

function coldStartText(start: Explanation['cold_start'], paint: Paint): string[] {
  if (start === null) return []
  const waited = start.waited_ms === 0 ? '' : `, ${elapsedText(start.waited_ms)} before its hardware was asked for`
  const took = `Last cold start: ${elapsedText(start.actual_ms)} from ${fromWords[start.from]} on${waited}.`
  if (start.target_ms === null) return [`  ${took}`]
  const target = `${elapsedText(start.target_ms)} is the target.`
  return [`  ${took} ${start.missed ? paint('red', `MISSED: ${target}`) : `In time: ${target}`}`]
}

function nextLook(at: string, now: Date): string {
  const ms = Date.parse(at) - now.getTime()
  return ms <= 0 ? 'It is looked at again now.' : `It is looked at again in ${elapsedText(ms)}.`
}

function replicaText(replica: Replica, { emulated, simulated }: Pick<Deployment, 'emulated' | 'simulated'>): string[] {
  const where = `${hardwareText({ ...replica, emulated, simulated })} in ${replica.region}`
  const parts = startParts(replica).map((part) => `${part.name} ${elapsedText(part.ms)}${part.open ? ' …' : ''}`)
  const ready =
    replica.ready_at === null
      ? []
      : [`ready after ${elapsedText(Date.parse(replica.ready_at) - Date.parse(replica.created_at))}`]
  const exit = replica.exit
  return [
    `  ${replica.id}  ${replica.phase}  ${where}  revision ${replica.revision}`,
    ...(parts.length + ready.length > 0 ? [`    start: ${[...parts, ...ready].join(' · ')}`] : []),
    ...(exit === null ? [] : [`    ended: ${oneLine(exit.why)}`]),
    ...(exit === null ? [] : exit.last_lines.slice(-lastLinesShown).map((line) => `      ${harmless(line)}`)),
  ]
}

function eventText(event: Pick<Event, 'type' | 'at' | 'data'>, now: Date): string {
  const data = Object.entries(event.data)
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  return oneLine(`${timeShown(new Date(event.at), now)} ${event.type} ${data.join(' ')}`).replace(/^/, '  ')
}
