/** Published ports: listed, published, withdrawn. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import { type PublishOptions, type PublishSpec, expandPublish, parsePublish } from '../../forwarder/index.js';
import type { Network, PortInfo } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import { idParams } from '../policy-schemas.js';
import { portSchema, portsSchema, publishRangeSchema, publishSchema } from '../schemas.js';

const portQuery = z.strictObject({
  protocol: field.oneOf('tcp', 'udp').optional(),
  port: field.whole('', 1, 65_535).optional().describe('Of the host'),
});

/** Ports of one request; more take several. */
const MAX_RANGE = 10_000;

const missing = (id: number): Problem => new Problem(404, `there is no published port ${id}`);

/** `guest`: who may see its own only. */
function find(network: Network, id: number, guest?: string): PortInfo {
  const port = network.port(id);
  if (port === undefined || (guest !== undefined && port.target !== guest)) throw missing(id);
  return port;
}

type Publish = PublishOptions & { readonly spec: string; readonly keep?: boolean | undefined };

/** The text with the members beside it. */
function specOf({ spec: text, keep: _, ...options }: Publish): PublishSpec {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...parsePublish(text), ...Object.fromEntries(given) };
}

/** What a guest may publish: ports of itself, at the host's loopback, where the policy lets it. Throws 403. */
function ownSpec(network: Network, guest: string, spec: PublishSpec): PublishSpec {
  const others =
    spec.guestMac !== undefined ||
    spec.guestIp !== undefined ||
    (spec.guest !== undefined && spec.guest !== guest);
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
      const spec = specOf(body);
      const allowed = guest === undefined ? spec : ownSpec(network, guest, spec);
      // What a guest publishes is its own, for as long as this process runs.
      const keep = guest === undefined && body.keep !== false;
      return find(network, (await network.publish(allowed, { keep })).id);
    },
  }),
  json({
    method: 'POST',
    path: '/v1/ports/range',
    summary: `Publish ports of ranges, at most ${MAX_RANGE}: all of them, or none`,
    body: publishRangeSchema,
    status: 201,
    json: portsSchema,
    refusals: {
      403: 'The system does not allow this address or one of the ports',
      409: 'A port is taken; the detail names it, and its holder where the system tells',
    },
    respond: async ({ network, body }) => {
      const texts = expandPublish(body.spec);
      if (texts.length > MAX_RANGE)
        throw new Problem(
          400,
          `${texts.length} ports are too many for one request: ${MAX_RANGE} are allowed`,
        );
      const specs = texts.map((spec) => specOf({ ...body, spec }));
      const ids = (await network.publishAll(specs, { keep: body.keep })).map(({ id }) => id);
      return { items: ids.map((id) => find(network, id)) };
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
