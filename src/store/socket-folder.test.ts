import assert from 'node:assert/strict'
import { chownSync, mkdirSync, rmdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { postgresAccount, runsAsRoot } from '../runtime/isolation.ts'
import { chooseSocketFolder } from './socket-folder.ts'
import { type TestFolders, testFolders } from './testing.ts'

describe('socket folder', () => {
  let folders: TestFolders
  before(() => {
    folders = testFolders()
  })
  after(() => folders.remove())
  const account = postgresAccount()
  const choose = (below?: string, folder = join(folders.root, 'home', 'postgres')) =>
    chooseSocketFolder({ folder, account, instanceId: 'a', below })

  it('is beside the database, private, and empty of what a killed server left', () => {
    mkdirSync(join(folders.root, 'home', 'run'), { recursive: true })
    writeFileSync(join(folders.root, 'home', 'run', '.s.PGSQL.5432.lock'), '1')
    const chosen = choose()
    assert.equal(chosen, join(folders.root, 'home', 'run'))
    assert.equal(statSync(chosen).mode & 0o777, 0o700)
    assert.equal(statSync(chosen).uid, account?.uid ?? process.getuid!())
    assert.throws(() => statSync(join(chosen, '.s.PGSQL.5432.lock')), { code: 'ENOENT' })
  })

  it('passes over a link that somebody planted under its name', () => {
    const below = join(folders.root, 'shared')
    mkdirSync(below)
    const name = basename(choose(below))
    assert.equal(choose(below), join(below, name), 'the same at every start')
    const trapped = join(folders.root, 'trapped')
    mkdirSync(trapped)
    mkdirSync(join(folders.root, 'trap'))
    symlinkSync(join(folders.root, 'trap'), join(trapped, name))
    assert.equal(choose(trapped), join(trapped, `${name}-1`))
  })

  it('passes over another user’s folder', { skip: !runsAsRoot() && 'only root can make one' }, () => {
    const below = join(folders.root, 'others')
    mkdirSync(below)
    const name = basename(choose(below))
    chownSync(join(below, name), 12_345, 12_345)
    assert.equal(choose(below), join(below, `${name}-1`))
  })

  it('says so when no path is short enough', () => {
    const below = join(folders.root, 'x'.repeat(100))
    mkdirSync(below)
    assert.throws(() => choose(below), /103 bytes/)
    const elsewhere = choose(undefined, join(below, 'postgres'))
    assert.notEqual(dirname(elsewhere), below)
    rmdirSync(elsewhere)
  })
})
