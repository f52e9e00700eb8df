import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { arrival, readIntoArrival } from './arrival.ts'

/** Both ends of a connection. */
async function connection(t: TestContext): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    for (const socket of [client, accepted]) socket.destroy()
    server.close()
  })
  return { client, accepted }
}

/** What comes, as text; `after` is called for every piece. */
function heard(socket: Socket, after: (text: string) => void = () => {}, goOn = () => true): { text: string } {
  const all = { text: '' }
  readIntoArrival(socket, (size) => {
    all.text += arrival.toString('latin1', 0, size)
    after(all.text)
    return goOn()
  })
  return all
}

test('an accepted connection makes no buffers of its own', async (t) => {
  const { client, accepted } = await connection(t)
  let pushed = 0
  accepted.push = () => {
    pushed += 1
    return true
  }
  const came = Promise.withResolvers<void>()
  const all = heard(accepted, (text) => {
    if (text === 'one two') came.resolve()
  })
  client.write('one')
  client.write(' two')
  await came.promise
  assert.equal(all.text, 'one two')
  assert.equal(pushed, 0, 'the way around the lasting buffer')
})

test('a connection that is told to wait reads on when it is resumed, and hears its end', async (t) => {
  const { client, accepted } = await connection(t)
  let isWaiting = true
  const first = Promise.withResolvers<void>()
  const all = heard(
    accepted,
    () => first.resolve(),
    () => !isWaiting,
  )
  client.write('a')
  await first.promise
  client.end('b'.repeat(500_000))
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(all.text, 'a')
  isWaiting = false
  const ended = once(accepted, 'end')
  accepted.pause().resume()
  await ended
  assert.equal(all.text.length, 500_001)
})

test('what is no connection of the system is read as it is, in pieces that fit', () => {
  const socket = new PassThrough() as unknown as Socket
  const sizes: number[] = []
  readIntoArrival(socket, (size) => sizes.push(size) > 0)
  socket.emit('data', Buffer.alloc(arrival.length * 2 + 5))
  assert.deepEqual(sizes, [arrival.length, arrival.length, 5])
})
