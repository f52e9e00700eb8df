/** A model or adapter of one's own on a running server. */
import assert from 'node:assert/strict'
import { systemClock, until } from '../../src/runtime/clock.ts'
import type { Server } from './harness.ts'

/** Uploads a GGUF file in one request, as the operator, and waits until it is ready. */
export async function uploaded(server: Server, name: string, bytes: Buffer, withinMs: number): Promise<void> {
  const form = new FormData()
  form.set('file', new Blob([bytes as Uint8Array<ArrayBuffer>]), `${name}.gguf`)
  form.set('name', name)
  const sent = await fetch(`${server.url}/api/v1/public/models/upload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.operatorKey}` },
    body: form,
  })
  assert.equal(sent.status, 201, await sent.clone().text())
  await until(systemClock, 'the upload is ready', withinMs, async () =>
    (await server.native.uploadedModel(name)).status === 'ready' ? true : null,
  )
}
