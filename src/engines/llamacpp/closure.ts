/** What the worker loads from `node_modules`: the prebuilt llama.cpp of this platform, and nothing else. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { nativePackage } from './platform.ts'

/** Folders below `packageRoot`; empty when there is no prebuilt llama.cpp for this machine. */
export function runtimePackages(packageRoot: string): string[] {
  const from = nativePackage(process.platform, process.arch)
  if (!from) return []
  const nested = join('node_modules', 'node-llama-cpp', 'node_modules', from.name)
  return [existsSync(join(packageRoot, nested)) ? nested : join('node_modules', from.name)]
}
