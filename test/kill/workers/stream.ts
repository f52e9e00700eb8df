/** A client that streams on a connection of its own and tells how its answer ended. */
import { request } from 'node:http'

export class Stream {
  text = ''
  status = 0
  isBroken = false
  /** Its first event has come; rejects when none does. */
  readonly begun: Promise<void>
  /** `broken`: the connection went before the answer was complete. */
  readonly ended: Promise<'whole' | 'broken' | 'error'>

  constructor(port: number, key: string) {
    const begun = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<'whole' | 'broken' | 'error'>()
    this.begun = begun.promise
    this.ended = ended.promise.then((end) => {
      this.isBroken = end === 'broken'
      return end
    })
    this.begun.catch(() => {})
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const path = '/v1/chat/completions'
    const call = request({ port, host: '127.0.0.1', method: 'POST', path, headers, agent: false }, (answer) => {
      this.status = answer.statusCode!
      answer.setEncoding('utf8')
      answer.on('data', (piece: string) => {
        this.text += piece
        begun.resolve()
      })
      answer.on('error', () => ended.resolve('broken'))
      answer.on('end', () => {
        begun.reject(new Error('nothing came'))
        ended.resolve(this.text.endsWith('data: [DONE]\n\n') ? 'whole' : 'error')
      })
    })
    call.on('error', (error) => {
      begun.reject(error)
      ended.resolve('broken')
    })
    call.end(JSON.stringify({ model: 'mine', messages: [{ role: 'user', content: 'Hello' }], stream: true }))
  }
}
