/** Routes of a deployment's schedule: what it says, another one, none. */
import { changeSchedule, renderSchedule, schedule, scheduleFrom } from '../wire/native/schedule.ts'
import { endpoint } from './endpoint.ts'

const tag = 'Scaling'
const path = '/deployments/{id}/schedule'

export const scheduleEndpoints = [
  endpoint({
    id: 'getSchedule',
    method: 'get',
    path,
    tag,
    summary: 'Get the schedule of a deployment',
    description: 'With the window that counts now, and when something else will be said.',
    answer: schedule,
    run: async ({ principal, param, parts }) => renderSchedule(await parts.schedules.get(principal, param('id'))),
  }),
  endpoint({
    id: 'putSchedule',
    method: 'put',
    path,
    tag,
    summary: 'Give a deployment a schedule',
    description:
      'In place of the one before, at once. `scale` and `sleep` take the place of the scaling limits while their window is open. `stop` stops what runs, and what it stopped is started again at its end; what a person stopped stays stopped, and what a person starts in the middle runs until the next change.',
    body: changeSchedule,
    answer: schedule,
    run: async ({ principal, param, body, parts }) =>
      renderSchedule(await parts.schedules.put(principal, param('id'), scheduleFrom(body))),
  }),
  endpoint({
    id: 'deleteSchedule',
    method: 'delete',
    path,
    tag,
    summary: 'Take the schedule of a deployment away',
    description: 'What it stopped is started again.',
    answer: schedule,
    run: async ({ principal, param, parts }) => renderSchedule(await parts.schedules.put(principal, param('id'), null)),
  }),
]
