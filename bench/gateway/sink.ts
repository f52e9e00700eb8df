/** Stands where control is, and swallows what is uploaded to it. */
import { createServer } from 'node:http'
import { join } from 'node:path'

export function startSink(folder: string): Promise<{ path: string; end(): Promise<void> }> {
  const path = join(folder, 'control')
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end('{}'))
  })
  const end = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  return new Promise((ready) => server.listen(path, () => ready({ path, end })))
}
