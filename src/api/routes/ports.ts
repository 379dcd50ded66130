/** Published ports: listed, published, withdrawn. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import type { Network, PortInfo } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import { idParams } from '../policy-schemas.js';
import { portSchema, publishSchema } from '../schemas.js';

const portQuery = z.strictObject({
  protocol: field.oneOf('tcp', 'udp').optional(),
  port: field.whole('', 1, 65_535).optional().describe('Of the host'),
});

const missing = (id: number): Problem => new Problem(404, `there is no published port ${id}`);

function find(network: Network, id: number): PortInfo {
  const [port] = network.eachPort(id - 1);
  if (port?.id !== id) throw missing(id);
  return port;
}

export const portRoutes = [
  page({
    method: 'GET',
    path: '/v1/ports',
    summary: 'Published ports with their counters',
    query: portQuery,
    item: portSchema,
    respond: ({ network, query, after }) => ({
      items: matching(network.eachPort(after), query),
      cursor: ({ id }) => id,
    }),
  }),
  json({
    method: 'POST',
    path: '/v1/ports',
    summary: 'Publish a port of the host into a guest; host port 0: the host chooses',
    body: publishSchema,
    status: 201,
    json: portSchema,
    refusals: {
      403: 'The system does not allow this address or port',
      409: 'The port is taken; the detail names its holder where the system tells',
    },
    respond: async ({ network, body }) => find(network, (await network.publish(body.spec)).id),
  }),
  json({
    method: 'GET',
    path: '/v1/ports/{id}',
    summary: 'One published port',
    params: idParams,
    json: portSchema,
    refusals: { 404: 'There is no such port' },
    respond: ({ network, params: { id } }) => find(network, id),
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/ports/{id}',
    summary: 'Withdraw a published port and reset what runs over it',
    params: idParams,
    refusals: { 404: 'There is no such port' },
    respond: ({ network, params: { id } }) => {
      if (!network.unpublish(id)) throw missing(id);
    },
  }),
];

/** The ports that fit; undefined for each that does not. */
function* matching(
  ports: Iterable<PortInfo>,
  query: z.output<typeof portQuery>,
): Generator<PortInfo | undefined> {
  for (const port of ports) {
    const fits =
      (query.protocol === undefined || port.protocol === query.protocol) &&
      (query.port === undefined || port.port === query.port);
    yield fits ? port : undefined;
  }
}
