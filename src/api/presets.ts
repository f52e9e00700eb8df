/** Routes of presets: what there are, and applying one to a deployment. */
import { absentHardware, type PresetName, presetNames, presetOn, presets } from '../deployments/presets.ts'
import { listOf } from '../wire/native/fields.ts'
import { appliedPreset, applyPreset, changedNames, preset, renderPreset } from '../wire/native/presets.ts'
import { type ApiParts, endpoint, whole } from './endpoint.ts'
import { changed, specFaults } from './lifecycle.ts'

/** Those that have something to set. */
function enginesUnder(name: PresetName, { engines, hardware }: Pick<ApiParts, 'engines' | 'hardware'>) {
  const tuned = [...engines.values()].filter(({ tune }) => tune !== undefined)
  return tuned.map((driver) => ({ engine: driver.type, ...presetOn(name, driver, hardware) }))
}

export const presetEndpoints = [
  endpoint({
    id: 'applyPreset',
    method: 'patch',
    path: '/deployments/{id}/preset',
    tag: 'Scaling',
    summary: 'Apply a preset to a deployment',
    description:
      'As if its fields were sent: they take the place of what was there; what it does not name stays, and what is sent afterwards wins. Other hardware makes a new revision and rolls to it.',
    body: applyPreset,
    answer: appliedPreset,
    faults: [...specFaults, 'hardware_absent', 'downtime_not_allowed'],
    run: async (ask) => {
      const {
        preset: name,
        keep_hardware: keepHardware = false,
        allow_downtime: allowDowntime = false,
        force,
      } = ask.body
      const wish = { preset: name, keepHardware, allowDowntime, force }
      const names = await ask.parts.scaling.applyPreset(ask.principal, ask.param('id'), wish, ask.once)
      return { ...(await changed(ask)), changed: changedNames(names) }
    },
  }),
  endpoint({
    id: 'listPresets',
    method: 'get',
    path: '/presets',
    tag: 'Catalogue',
    summary: 'List the presets and what each sets',
    answer: listOf(preset),
    run: async ({ principal, parts }) => {
      const offers = await parts.deployments.availability(principal)
      return whole(
        presetNames.map((name) =>
          renderPreset({
            name,
            ...presets[name],
            engines: enginesUnder(name, parts),
            absent: absentHardware(name, offers, parts.hardware),
          }),
        ),
      )
    },
  }),
]
