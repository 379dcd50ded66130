/** Published ports: listed, published, withdrawn. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import { type PublishSpec, parsePublish } from '../../forwarder/index.js';
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

/** `guest`: who may see its own only. */
function find(network: Network, id: number, guest?: string): PortInfo {
  const [port] = network.eachPort(id - 1);
  if (port?.id !== id || (guest !== undefined && port.target !== guest)) throw missing(id);
  return port;
}

/** What a guest may publish: ports of itself, at the host's loopback, where the policy lets it. Throws 403. */
function ownSpec(network: Network, guest: string, text: string): PublishSpec {
  const spec = parsePublish(text);
  const others = spec.guestIp !== undefined || (spec.guest !== undefined && spec.guest !== guest);
  if (others) throw new Problem(403, `${guest} may publish its own ports only`);
  if (spec.hostPath !== undefined || !LOOPBACK.has(spec.hostIp))
    throw new Problem(403, `${guest} may publish at 127.0.0.1, [::1] and localhost only`);
  const { verdict, rule, id } = network.policy.grants(guest, 'publish', spec.hostPort);
  if (verdict.kind === 'deny')
    throw new Problem(
      403,
      `the policy does not let ${guest} publish port ${spec.hostPort}: rule "${rule}", decision ${id}`,
    );
  return { ...spec, guest };
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost']);

export const portRoutes = [
  page({
    method: 'GET',
    path: '/v1/ports',
    summary: 'Published ports with their counters',
    query: portQuery,
    item: portSchema,
    grant: 'publish',
    respond: ({ network, query, after, guest }) => ({
      items: matching(network.eachPort(after), { ...query, guest }),
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
    grant: 'publish',
    respond: async ({ network, body, guest }) => {
      const spec = guest === undefined ? body.spec : ownSpec(network, guest, body.spec);
      return find(network, (await network.publish(spec)).id);
    },
  }),
  json({
    method: 'GET',
    path: '/v1/ports/{id}',
    summary: 'One published port',
    params: idParams,
    json: portSchema,
    refusals: { 404: 'There is no such port' },
    grant: 'publish',
    respond: ({ network, params: { id }, guest }) => find(network, id, guest),
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/ports/{id}',
    summary: 'Withdraw a published port and reset what runs over it',
    params: idParams,
    refusals: { 404: 'There is no such port' },
    grant: 'publish',
    respond: ({ network, params: { id }, guest }) => {
      if (guest !== undefined) find(network, id, guest);
      if (!network.unpublish(id)) throw missing(id);
    },
  }),
];

/** The ports that fit; undefined for each that does not. */
function* matching(
  ports: Iterable<PortInfo>,
  query: z.output<typeof portQuery> & { readonly guest: string | undefined },
): Generator<PortInfo | undefined> {
  for (const port of ports) {
    const fits =
      (query.guest === undefined || port.target === query.guest) &&
      (query.protocol === undefined || port.protocol === query.protocol) &&
      (query.port === undefined || port.port === query.port);
    yield fits ? port : undefined;
  }
}
