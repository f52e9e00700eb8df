/** The GPUs of this machine, as the vendors' own tools tell. The parsing is pure. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { childEnv, findProgram } from '../../runtime/processes.ts'

export interface Gpu {
  vendor: 'nvidia' | 'amd'
  /** Device index as the vendor's own variable takes it. */
  index: string
  slug: string
  name: string
}

/** `nvidia-smi` without a persistent driver takes seconds. */
const probeSecondsMaximum = 20
const nvidiaArguments = ['--query-gpu=index,name,memory.total', '--format=csv,noheader,nounits']
const rocmArguments = ['--showproductname', '--json']

/** Product names that the catalogue knows; the first that matches counts. */
const known: [RegExp, string][] = [
  [/\bH100\b/i, 'h100'],
  [/\bH200\b/i, 'h200'],
  [/\bRTX 4090\b(?! (Laptop|D\b))/i, 'rtx4090'],
  [/\bMI300X\b/i, 'mi300x'],
  [/\bMI325X\b/i, 'mi325x'],
]

/** The catalogue's slug for a product; a product that it does not know gets one of its own, e.g. `a100-sxm4-80gb`. */
export function slugOf(product: string): string {
  const match = known.find(([pattern]) => pattern.test(product))
  if (match !== undefined) return match[1]
  const slug = product
    .replace(/\b(NVIDIA|AMD|Instinct|GeForce|Radeon|Tesla)\b/gi, '')
    .toLowerCase()
    .replace(/\brtx\s+/g, 'rtx')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return slug || 'gpu'
}

/** Lines of `index, name, memory`. Lines that are none (warnings, "No devices were found") are passed over. */
export function parseNvidia(text: string): Gpu[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(\d+),\s*(.+?),\s*[^,]*$/.exec(line)
    if (match === null) return []
    const [, index, name] = match
    return [{ vendor: 'nvidia' as const, index: index!, slug: slugOf(name!), name: name! }]
  })
}

/** `{"card0": {"Card Series": "AMD Instinct MI300X", …}, …}`, before ROCm 6 `Card series`; warnings may precede it. */
export function parseRocm(text: string): Gpu[] {
  let cards: Record<string, Record<string, string>>
  try {
    cards = JSON.parse(text.slice(text.indexOf('{')))
  } catch {
    return []
  }
  return Object.entries(cards).flatMap(([card, fields]) => {
    const index = /^card(\d+)$/.exec(card)?.[1]
    const name = productName(fields)
    return index === undefined || name === null ? [] : [{ vendor: 'amd' as const, index, slug: slugOf(name), name }]
  })
}

function productName(fields: Record<string, string>): string | null {
  const named = Object.entries(fields).filter(([key]) => /^(card series|card model|device name)$/i.test(key))
  const names = named.map(([, value]) => value).filter((value) => !/^(0x|N\/A)/i.test(value))
  return names.find((name) => known.some(([pattern]) => pattern.test(name))) ?? names[0] ?? null
}

/** Asks each tool that is on the PATH. A tool that fails is reported and counts as no GPUs. */
export async function probeGpus(warn: (message: string) => void): Promise<Gpu[]> {
  const [nvidia, amd] = await Promise.all([
    run('nvidia-smi', nvidiaArguments, warn),
    run('rocm-smi', rocmArguments, warn),
  ])
  return [...parseNvidia(nvidia), ...parseRocm(amd)]
}

async function run(name: string, args: string[], warn: (message: string) => void): Promise<string> {
  const program = findProgram(name)
  if (program === null) return ''
  try {
    const options = { env: childEnv(), timeout: probeSecondsMaximum * 1000, killSignal: 'SIGKILL' as const }
    return (await promisify(execFile)(program, args, options)).stdout
  } catch (error) {
    warn(`${name} failed, so its GPUs are not offered: ${(error as Error).message}`)
    return ''
  }
}

/** What an engine sees: its own devices, none when it has none. Without a vendor both are hidden. */
export function visibleDevices(vendor: Gpu['vendor'] | null, ids: readonly string[]): Record<string, string> {
  const list = ids.join(',')
  return {
    // Indices as nvidia-smi counts them, not by speed.
    CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
    CUDA_VISIBLE_DEVICES: vendor === 'nvidia' ? list : '',
    ROCR_VISIBLE_DEVICES: vendor === 'amd' ? list : '',
  }
}
