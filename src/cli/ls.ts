/** `paddock ls` and `paddock get`: what there is. */
import { deploymentColumns, deploymentPage } from './deployment-text.ts'
import { aboutDeployment, allPages, type Session } from './session.ts'
import { tableLines } from './table.ts'

export async function ls({ screen, client, clock }: Session, options: { deleted?: boolean }): Promise<void> {
  const filter = options.deleted ? { deleted: true } : {}
  const list = await allPages((page) => client.listDeployments({ ...page, ...filter }))
  if (list.data.length === 0 && !options.deleted)
    screen.note('No deployments yet. Make one:  paddock deploy paddock/starter --wait')
  screen.answer(list, () => tableLines(deploymentColumns(clock.now(), screen.paint), list.data, screen.columns))
}

export async function get({ screen, client, clock }: Session, name: string): Promise<void> {
  const deployment = await aboutDeployment(name, client.getDeployment(name))
  screen.answer(deployment, () => deploymentPage(deployment, clock.now(), screen.paint))
}
