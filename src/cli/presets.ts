/** `paddock presets`: what presets there are; applies one. */
import type { Preset } from '../wire/native/presets.ts'
import { hardwareText } from './deployment-text.ts'
import { aboutDeployment, type Session } from './session.ts'
import { type Column, tableLines } from './table.ts'
import { elapsedText } from './words.ts'

export async function presets({ screen, client }: Session): Promise<void> {
  const list = await client.listPresets()
  const columns: Column<Preset>[] = [
    { title: 'PRESET', cell: (preset) => preset.preset },
    { title: 'GPU', cell: (preset) => preset.gpu_type },
    { title: 'POLICY', cell: ({ scaling }) => scaling.policy },
    { title: 'SLEEPS', cell: ({ scaling }) => (scaling.scale_to_zero ? after(scaling.idle_timeout_seconds) : 'never') },
    { title: 'COOLDOWN', cell: ({ scaling }) => elapsedText(scaling.cooldown_seconds * 1000), right: true },
    { title: 'HERE', cell: (preset) => (preset.available ? 'yes' : `no: ${preset.reason ?? ''}`), shrinksTo: 10 },
    { title: 'BEST FOR', cell: (preset) => preset.about, shrinksTo: 12 },
  ]
  screen.answer(list, () => [...tableLines(columns, list.data, screen.columns), '', ...list.data.flatMap(engineLines)])
}

/** "speed on vllm: --performance-mode throughput", and what an engine leaves out. */
function engineLines({ preset, engines }: Preset): string[] {
  return engines.map(({ engine, arguments: args, sequences, leaves_out: left }) => {
    const number = sequences === null ? [] : [`${sequences} sequences at once`]
    const set = [...number, ...(args.length === 0 ? [] : [args.join(' ')])]
    const says =
      set.length === 0 && left.length === 0 ? 'as the engine is' : [set.join(', '), ...left].filter(Boolean).join('. ')
    return `${preset} on ${engine}: ${says}`
  })
}

function after(seconds: number): string {
  return `after ${elapsedText(seconds * 1000)}`
}

export async function applyPreset(
  { screen, client }: Session,
  name: string,
  preset: string,
  options: { keepHardware?: boolean; force?: boolean },
): Promise<void> {
  const body = {
    preset: preset as Preset['preset'],
    ...(options.keepHardware ? { keep_hardware: true } : {}),
    ...(options.force ? { force: true } : {}),
  }
  const applied = await aboutDeployment(name, client.applyPreset(name, body))
  const what = applied.changed.length === 0 ? 'nothing had to change' : `changed ${applied.changed.join(', ')}`
  screen.answer(
    applied,
    () => `${applied.name} has the preset ${applied.preset}: ${what}. It runs on ${hardwareText(applied)}.`,
  )
}
