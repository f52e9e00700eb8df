/** Which npm package carries the prebuilt llama.cpp for a machine. glibc only; nothing is built or downloaded. */
export interface NativePackage {
  /** Name of the package, relative to `node_modules`. */
  name: string
  /** Its file with the native module, relative to the package. */
  file: string
}

const folders: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-x64': 'mac-x64',
  'darwin-arm64': 'mac-arm64-metal',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
}

/** Null when no prebuilt llama.cpp exists for this machine. */
export function nativePackage(platform: string, architecture: string): NativePackage | null {
  const folder = folders[`${platform}-${architecture}`]
  if (folder === undefined) return null
  return { name: `@node-llama-cpp/${folder}`, file: `bins/${folder}/llama-addon.node` }
}
