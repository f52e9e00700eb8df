/** Loaded into a child by --import: ends it when the pipe on its fourth file descriptor closes, that is, when its parent is gone. */
import net from 'node:net'

try {
  const pipe = new net.Socket({ fd: 3 })
  pipe.on('error', () => process.exit(1))
  pipe.on('close', () => process.exit(1))
  pipe.resume()
  pipe.unref()
} catch {
  // a grandchild that inherited the option but not the pipe
}
