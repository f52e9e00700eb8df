/** Routes of an organisation's token for the Hub. */
import { Secret } from '../kernel/secret.ts'
import { hubToken, putHubToken, renderHubToken } from '../wire/native/hub.ts'
import { endpoint } from './endpoint.ts'

const tag = 'Organisations'
const path = '/orgs/{id}/hf-token'

export const hubEndpoints = [
  endpoint({
    id: 'getHubToken',
    method: 'get',
    path,
    tag,
    summary: 'Tell whether an organisation has a token for the Hub',
    description: 'The token itself is shown to nobody.',
    answer: hubToken,
    run: async ({ principal, param, parts }) => renderHubToken(await parts.hubTokens.get(principal, param('id'))),
  }),
  endpoint({
    id: 'putHubToken',
    method: 'put',
    path,
    tag,
    summary: 'Set the token with which an organisation reads from the Hub',
    description:
      'For gated and private repositories of its deployments. It is kept encrypted and goes to the Hub alone; it takes the place of the one before.',
    body: putHubToken,
    answer: hubToken,
    faults: ['hub_token_refused'],
    run: async ({ principal, param, body, parts }) =>
      renderHubToken(await parts.hubTokens.set(principal, param('id'), new Secret(body.token))),
  }),
  endpoint({
    id: 'deleteHubToken',
    method: 'delete',
    path,
    tag,
    summary: 'Remove the token of an organisation for the Hub',
    description: 'What runs goes on; files that are still to be brought are asked for without it.',
    answer: hubToken,
    run: async ({ principal, param, parts }) => renderHubToken(await parts.hubTokens.remove(principal, param('id'))),
  }),
]
