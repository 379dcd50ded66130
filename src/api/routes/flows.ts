/** Flows: who talks to whom, and an end to it. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import type { FlowInfo, Network } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import { idParams } from '../policy-schemas.js';
import { flowSchema } from '../schemas.js';

const flowQuery = z.strictObject({
  guest: field.guestName.optional().describe('Only flows of this guest'),
  protocol: field.oneOf('tcp', 'udp').optional(),
  direction: field.oneOf('out', 'in').optional(),
  state: z
    .string()
    .max(32)
    .optional()
    .describe('Such as ESTABLISHED, DIALING, REPLIED; case does not matter'),
  peer: z.string().max(64).optional().describe('An address, or address:port'),
  tcp: z.boolean().optional().describe('With what ss -ti shows'),
});

const missing = (id: number): Problem => new Problem(404, `there is no flow ${id}; it may have ended`);

export const flowRoutes = [
  page({
    method: 'GET',
    path: '/v1/flows',
    summary: 'Flows of this moment, TCP and UDP',
    query: flowQuery,
    item: flowSchema,
    grant: 'self',
    respond: ({ network, query, after, guest }) => ({
      items: matching(network, guest === undefined ? query : { ...query, guest }, after),
      cursor: ({ id }) => id,
    }),
  }),
  json({
    method: 'GET',
    path: '/v1/flows/{id}',
    summary: 'One flow, with what ss -ti shows',
    params: idParams,
    json: flowSchema,
    refusals: { 404: 'There is no such flow' },
    respond: ({ network, params: { id } }) => {
      const [flow] = network.eachFlow({ after: id - 1, tcp: true });
      if (flow?.id !== id) throw missing(id);
      return flow;
    },
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/flows/{id}',
    summary: 'End a flow; TCP is reset on both sides',
    params: idParams,
    refusals: { 404: 'There is no such flow' },
    respond: ({ network, params: { id } }) => {
      if (!network.killFlow(id)) throw missing(id);
    },
  }),
];

/** The flows that fit; undefined for each that does not. */
function* matching(
  network: Network,
  { tcp, ...filter }: z.output<typeof flowQuery>,
  after: number,
): Generator<FlowInfo | undefined> {
  for (const flow of network.eachFlow({ after, tcp })) yield fits(flow, filter) ? flow : undefined;
}

function fits(flow: FlowInfo, filter: z.output<typeof flowQuery>): boolean {
  const { peer, state } = filter;
  for (const key of ['guest', 'protocol', 'direction'] as const)
    if (filter[key] !== undefined && filter[key] !== flow[key]) return false;
  if (state !== undefined && state.toUpperCase() !== flow.state) return false;
  return peer === undefined || flow.peer === peer || flow.peer.startsWith(`${peer}:`);
}
