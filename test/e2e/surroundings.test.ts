/** Wherever it runs: any user, any folder, its own Postgres or somebody else's, through the command or directly. */
import assert from 'node:assert/strict'
import { chownSync, cpSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { reachableBy, runsAsRoot } from '../../src/runtime/isolation.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import { startEmbeddedPostgres } from '../../src/store/embedded.ts'
import { paddock, type Server, type StartOptions, startServer } from './harness.ts'
import { inNewPlace, Place } from './place.ts'

/** A user without rights that every system has; Postgres wants one that has a name. */
const stranger = accountOf('nobody')
const rootOnly = runsAsRoot() ? false : 'only root can act as another user'

/** Serves, deploys, answers and stops. */
async function doesTheMainJob(place: Place, options: StartOptions, look?: (server: Server) => void): Promise<void> {
  const server = await startServer(place, options)
  await server.deploy('here')
  const { choices } = await server.openai().chat.completions.create({
    model: 'here',
    messages: [{ role: 'user', content: 'Where are you?' }],
    max_tokens: 3,
  })
  assert.equal(choices.length, 1)
  look?.(server)
  await server.stop()
}

describe('surroundings', () => {
  it('a data folder whose path is odd, and longer than a socket’s may be; `main.ts` without the command', async () => {
    const data = join('a folder with "quotes", commas & ümlauts', 'x'.repeat(120))
    await inNewPlace(
      (place) => doesTheMainJob(place, { program: [process.execPath, join(packageRoot, 'src', 'main.ts')] }),
      { data },
    )
  })

  it('an external Postgres by DATABASE_URL: ours is not started', async () => {
    await inNewPlace(async (place) => {
      const own = join(place.root, 'elsewhere')
      const postgres = await startEmbeddedPostgres({
        dataFolder: own,
        systemFolder: place.systemFolder,
        uidBase: place.uidBase,
      })
      try {
        const { host, port, user, password, database } = postgres.connection as Exclude<
          typeof postgres.connection,
          { url: string }
        >
        const url = `postgres://${user}:${encodeURIComponent(password)}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`
        const before = place.processes('postmaster').length
        await doesTheMainJob(place, { env: { DATABASE_URL: url } }, (server) => {
          assert.equal(place.processes('postmaster').length, before)
          assert.ok(!server.run.output.includes(password), 'the password is not shown')
        })
        // Everything is in that database: another start finds it.
        const again = await startServer(place, { env: { DATABASE_URL: url } })
        assert.deepEqual(
          (await again.native.listDeployments()).data.map(({ name }) => name),
          ['here'],
        )
        await again.stop()
      } finally {
        await postgres.stop()
      }
    })
  })

  it('a user that is not root', { skip: rootOnly || noStranger() }, async () => {
    await inNewPlace(async (place) => {
      const account = stranger!
      chownSync(place.root, account.uid, account.gid)
      await doesTheMainJob(place, { account }, () => {
        for (const one of place.processes()) assert.equal(statSync(`/proc/${one.pid}`).uid, account.uid, one.command)
      })
    })
  })

  it('root, from a folder that only root can enter: program and data', { skip: rootOnly }, async () => {
    const system = new Place()
    try {
      await inNewPlace(
        async (place) => {
          const clone = copyProgram(place.root)
          const program = [nodeOf(clone), join(clone, 'bin', 'paddock.mjs')]
          await doesTheMainJob(place, { program }, () => {
            for (const one of place.processes('engine', 'postmaster'))
              assert.notEqual(statSync(`/proc/${one.pid}`).uid, 0, `${one.role} is not root`)
          })
        },
        { mode: 0o700, systemFolder: system.systemFolder },
      )
    } finally {
      await system.remove()
    }
  })
})

function accountOf(name: string): { uid: number; gid: number } | null {
  const found = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(readFileSync('/etc/passwd', 'utf8'))
  return found === null ? null : { uid: Number(found[1]), gid: Number(found[2]) }
}

function noStranger(): string | false {
  if (stranger === null) return 'there is no user "nobody"'
  const closed = [...paddock, join(packageRoot, 'node_modules')].find((path) => !reachableBy(stranger, path))
  return closed === undefined ? false : `another user cannot reach ${closed}`
}

/** This program as a clone in another folder. Files of packages are hard links: the same bytes under another path. */
function copyProgram(root: string): string {
  const copy = join(root, 'clone')
  mkdirSync(copy, { mode: 0o700 })
  for (const name of ['package.json', 'package-lock.json', '.npmrc', 'src', 'models', 'bin', 'scripts'])
    cpSync(join(packageRoot, name), join(copy, name), { recursive: true })
  linkTree(join(packageRoot, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** The pinned Node as the clone has it. */
function nodeOf(clone: string): string {
  const [, inPackages] = process.execPath.split('/node_modules/')
  return inPackages === undefined ? process.execPath : join(clone, 'node_modules', inPackages)
}

function linkTree(from: string, to: string): void {
  mkdirSync(to)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) linkTree(source, target)
    else if (entry.isSymbolicLink()) cpSync(source, target, { verbatimSymlinks: true })
    else linkOrCopy(source, target)
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch {
    cpSync(source, target)
  }
}
