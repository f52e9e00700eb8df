/** What the worker loads from `node_modules`: the prebuilt llama.cpp of this platform, and nothing else. */
import { join } from 'node:path'
import { nativePackage } from './platform.ts'

/** Folders as seen from the package root; empty when there is no prebuilt llama.cpp for this machine. */
export function runtimePackages(): string[] {
  const from = nativePackage(process.platform, process.arch)
  return from ? [join('node_modules', from.name)] : []
}
