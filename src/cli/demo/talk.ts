/** The demo's work with its server: a deployment, its start, a streamed answer, its end. */
import { answering } from '../../kernel/phase.ts'
import type { Clock } from '../../runtime/clock.ts'
import { ApiError, type NativeClient } from '../../wire/native/client.ts'
import type { Deployment } from '../../wire/native/deployment.ts'
import type { Explanation, Replica } from '../../wire/native/explanation.ts'
import { readAnswer, type StreamedAnswer } from '../answer-stream.ts'
import { hardwareText } from '../deployment-text.ts'
import { exitStatus, Failure } from '../failure.ts'
import { startParts } from '../start-parts.ts'
import { nullWhenNotFound } from '../wait.ts'
import { harmless } from '../width.ts'
import { elapsedText } from '../words.ts'
import type { Story } from './story.ts'

export const demoName = 'demo'
export const demoModel = 'paddock/starter'
export const question = 'What is Paddock?'
const answerTokens = 64
const everyMs = 30
const startDeadlineMs = 180_000
const endDeadlineMs = 60_000

export interface Talk {
  client: NativeClient
  story: Story
  clock: Clock
  signal: AbortSignal
}

/** Makes the deployment, or finds the one of the last time. */
export async function createDemo({ client, signal }: Talk): Promise<{ deployment: Deployment; found: boolean }> {
  const wish = { name: demoName, model_id: demoModel, gpu_type: 'h100', replicas: 1 }
  try {
    return { deployment: await client.createDeployment(wish, { signal }), found: false }
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'name_taken') throw error
    return { deployment: await client.getDeployment(demoName, signal), found: true }
  }
}

/** Waits until the deployment answers and tells each part of the start when it is over. */
export async function tellStart({ client, story, clock, signal }: Talk, created: Deployment): Promise<Deployment> {
  const deadline = clock.monotonicMs() + startDeadlineMs
  const told = new Set<string>()
  return story.during('hardware', async () => {
    for (;;) {
      signal.throwIfAborted()
      const explanation = await client.explainDeployment(created.id)
      const { deployment } = explanation
      const replica = explanation.replicas.filter((one) => one.exit === null).at(-1)
      const answers = answering[deployment.phase] === 'yes'
      if (replica) tellParts(story, deployment, replica, told)
      if (answers) return tellReady(story, explanation)
      refuseDeadEnds(deployment)
      if (clock.monotonicMs() > deadline) throw tooSlow(deployment)
      await clock.sleep(everyMs, signal)
    }
  })
}

const aboutPart: Record<string, (d: Deployment) => string> = {
  hardware: (d) => `${hardwareText(d)}: a slot on this machine’s CPU stands in`,
  files: () => 'weights where the engine can read them',
  load: (d) => `${d.engine.type} reads the weights`,
  'warm-up': () => 'a first token',
}

function tellParts(story: Story, deployment: Deployment, replica: Replica, told: Set<string>): void {
  for (const part of startParts(replica)) {
    if (part.open) story.doing(part.name)
    if (part.open || told.has(part.name)) continue
    told.add(part.name)
    story.done(part.name, part.ms, aboutPart[part.name]?.(deployment) ?? '')
  }
}

function tellReady(story: Story, { deployment, replicas }: Explanation): Deployment {
  const replica = replicas.filter((one) => one.ready_at !== null && one.exit === null).at(-1)
  const ms = replica ? Date.parse(replica.ready_at!) - Date.parse(replica.created_at) : 0
  story.done('ready', ms, `${deployment.ready_replicas} of ${deployment.desired_replicas} replicas answer`)
  return deployment
}

function refuseDeadEnds(deployment: Deployment): void {
  if (answering[deployment.phase] === 'hold') return
  const why = deployment.reason ? `: ${deployment.reason.message}` : '.'
  throw new Failure(
    exitStatus.failed,
    deployment.reason?.code ?? deployment.phase,
    `The deployment is ${deployment.phase}${why}`,
  )
}

function tooSlow(deployment: Deployment): Failure {
  const why = deployment.reason ? `: ${deployment.reason.message}` : '.'
  const message = `The deployment is still ${deployment.phase} after ${elapsedText(startDeadlineMs)}${why}`
  return new Failure(exitStatus.timeout, 'timeout', message)
}

/** Asks the question and shows the answer as it comes. */
export async function tellAnswer(
  { client, clock, signal }: Talk,
  deployment: Deployment,
  show: (text: string) => void,
): Promise<StreamedAnswer> {
  const body = {
    messages: [{ role: 'user', content: question }],
    max_tokens: answerTokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  }
  const sent = clock.monotonicMs()
  const response = await client.chatCompletions(deployment.id, body, signal)
  let begun = false
  return readAnswer(response, clock, sent, (text) => {
    const shown = harmless(begun ? text : text.trimStart()).replaceAll('\n', '\n         ')
    begun ||= shown !== ''
    show(shown)
  })
}

/** Tears the deployment down; resolves when it is gone, with what was last known of it. */
export async function endDemo({ client, clock, signal }: Talk, deployment: Deployment): Promise<Deployment> {
  await client.deleteDeployment(deployment.id)
  const deadline = clock.monotonicMs() + endDeadlineMs
  let last = deployment
  while (clock.monotonicMs() < deadline) {
    signal.throwIfAborted()
    const seen = await client.getDeployment(deployment.id, signal).catch(nullWhenNotFound)
    if (seen === null || seen.phase === 'deleted') return (await deletedOne(client, deployment.id)) ?? seen ?? last
    last = seen
    await clock.sleep(everyMs, signal)
  }
  throw new Failure(exitStatus.timeout, 'timeout', `The deployment is not gone after ${elapsedText(endDeadlineMs)}.`)
}

/** A deleted deployment leaves the lists but stays in the books. */
async function deletedOne(client: NativeClient, id: string): Promise<Deployment | null> {
  const list = await client.listDeployments({ deleted: true, limit: 200 })
  return list.data.find((one) => one.id === id) ?? null
}
