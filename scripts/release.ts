/**
 * Makes the package of a release. It carries its JavaScript dependencies with it (bundled): exactly the versions that
 * were tested, and what the `overrides` of the clone replace stays replaced, which npm would not heed in a dependency.
 * The platform's binaries (Node, Postgres, llama.cpp) are optional packages that npm fetches at install.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeTarball } from './tarball.ts'

interface LockEntry {
  version: string
  name?: string
  dev?: boolean
  devOptional?: boolean
  os?: string[]
  cpu?: string[]
  dependencies?: Record<string, string>
}
type Lock = Record<string, LockEntry>

/** Packs what `root` is (with its `dist/`) into `into`; the path of the file. */
export function pack(root: string, into: string): string {
  const stage = mkdtempSync(join(tmpdir(), 'paddock-release-'))
  try {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    for (const name of manifest.files)
      if (existsSync(join(root, name))) cpSync(join(root, name), join(stage, name), { recursive: true, filter: isPart })
    const lock: Lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
    const bundled = bundle(root, stage, lock)
    writeFileSync(join(stage, 'package.json'), `${JSON.stringify(releaseManifest(manifest, bundled), null, 2)}\n`)
    mkdirSync(into, { recursive: true })
    const file = join(into, `${manifest.name}-${manifest.version}.tgz`)
    writeTarball(stage, file)
    return file
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

/** Copies every package of the lockfile that runs anywhere into `stage`; the names of those at the top. */
function bundle(root: string, stage: string, lock: Lock): string[] {
  const names: string[] = []
  for (const [path, entry] of Object.entries(lock)) {
    if (path === '' || entry.dev || entry.devOptional || entry.os || entry.cpu) continue
    if (entry.name === 'empty-npm-package')
      writeEmpty(join(stage, path), nameOf(path), wantedVersion(nameOf(path), lock))
    else copyPackage(join(root, path), join(stage, path))
    if (path.lastIndexOf('node_modules/') === 0) names.push(nameOf(path))
  }
  return names
}

function copyPackage(from: string, to: string): void {
  if (!existsSync(from)) return
  const ownFiles = (path: string) => !path.slice(from.length).includes('/node_modules')
  cpSync(from, to, { recursive: true, filter: ownFiles })
}

function writeEmpty(folder: string, name: string, version: string): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version }))
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

function wantedVersion(name: string, lock: Lock): string {
  const range = Object.values(lock).find(({ dependencies }) => dependencies?.[name])?.dependencies?.[name]
  return (range ?? '1.0.0').replace(/^[^\d]*/, '')
}

function releaseManifest(manifest: Record<string, unknown>, bundled: string[]): Record<string, unknown> {
  const { name, version, description, license, type, bin, engines, dependencies, optionalDependencies } = manifest
  const all = { name, version, description, license, type, bin, engines, dependencies, optionalDependencies }
  return { ...all, bundleDependencies: bundled }
}

function isPart(path: string): boolean {
  return !path.endsWith('.tgz')
}
