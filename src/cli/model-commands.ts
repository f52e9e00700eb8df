/** The commands of models: what there is, what of it fits where, and adding to it. */
import { type Command, Option } from 'commander'
import { examples, type Talk } from './command-parts.ts'
import type { DeployOptions } from './deploy.ts'

export function addModels(program: Command, talk: Talk, choices: { engines: string[]; presets: string[] }): void {
  const models = program
    .command('models')
    .description('list the models of the catalogue; add one, take one out')
    .option('--deployable', 'only what can be deployed here')
    .action(
      talk(async (session, own: { deployable?: boolean }) => (await import('./catalogue.ts')).models(session, own)),
    )
  const add = models
    .command('add <file>')
    .description('add a model to the catalogue (operator only): its entry as JSON; "-": standard input')
    .option('--replace', 'change the entry of this id that was added before')
    .action(
      talk(async (session, file: string, own: { replace?: boolean }) =>
        (await import('./catalogue.ts')).addModel(session, file, own),
      ),
    )
  models
    .command('rm <model>')
    .description('take a model out of the catalogue that was added (operator only); byom:NAME: delete an upload')
    .action(talk(async (session, id: string) => (await import('./catalogue.ts')).removeModel(session, id)))
  examples(add, [['paddock models add support-8b.json', '']])
  examples(models, [
    ['paddock models --deployable', ''],
    ['paddock models add support-8b.json', 'see docs/concepts/models.md'],
  ])
  addFit(program, talk, choices)
}

function addFit(program: Command, talk: Talk, { engines, presets }: { engines: string[]; presets: string[] }): void {
  const fit = program
    .command('fit <model>')
    .description('does it fit, what does it cost, what would do better; creates nothing')
    .option('--gpu <type>', 'hardware type, see "paddock gpus"')
    .option('--count <n>', 'units of that hardware per replica')
    .option('--hardware <list>', 'several choices: h100:2,mi300x')
    .option('--replicas <n>', 'how many replicas')
    .addOption(new Option('--preset <preset>', 'as the preset has it, see "paddock presets"').choices(presets))
    .addOption(new Option('--engine <engine>', 'inference engine; default: chosen by the model').choices(engines))
    .option('--engine-args <arguments>', 'further arguments of the engine: "--kv-cache-dtype fp8"')
    .option('--max-model-len <tokens>', 'context per sequence')
    .option('--max-num-seqs <n>', 'requests at once that it must carry')
    .action(
      talk(async (session, model: string, own: DeployOptions) => (await import('./fit.ts')).fit(session, model, own)),
    )
  examples(fit, [
    ['paddock fit llama-3.3-70b-instruct --gpu h100 --count 2', ''],
    ['paddock fit deepseek/deepseek-v3-0324 --hardware h100:4,mi300x_8', ''],
    ['paddock fit qwen/qwen3-8b-fp8 --gpu h100 --max-model-len 32768 --max-num-seqs 64', ''],
  ])
}
