/** The network, who is attached to it, and with which addresses. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import { parseIpv4 } from '../../core/index.js';
import type { Guest, Network } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import { guestSchema, leaseSchema, networkSchema } from '../schemas.js';
import type { ApiGuest } from '../types.js';

const nameParams = z.strictObject({ name: field.guestName.max(64) });

function find(network: Network, name: string): Guest {
  const guest = network.guests().find((one) => one.name === name);
  if (guest === undefined) throw new Problem(404, `there is no guest ${name}`);
  return guest;
}

function guestInfo({ id, name, ip, mac, link, counters }: Guest): ApiGuest {
  return { id, name, ip, mac, link: { kind: link.kind, name: link.name }, counters };
}

function* each<T, R>(
  items: Iterable<T>,
  wanted: (item: T) => boolean,
  make: (item: T) => R,
): Generator<R | undefined> {
  for (const item of items) yield wanted(item) ? make(item) : undefined;
}

export const guestRoutes = [
  page({
    method: 'GET',
    path: '/v1/networks',
    summary: 'The networks of this program',
    item: networkSchema,
    respond: ({ network, after }) => {
      const { hostAlias, ...addresses } = network.addresses;
      const name = network.config.name ?? 'netproxy';
      const one = { name, ...addresses, ...(hostAlias === undefined ? {} : { hostAlias }) };
      return { items: after === 0 ? [one] : [], cursor: () => 1 };
    },
  }),
  page({
    method: 'GET',
    path: '/v1/guests',
    summary: 'Guests that are attached',
    item: guestSchema,
    grant: 'self',
    respond: ({ network, after, guest }) => ({
      items: each(
        network.guests(),
        ({ id, name }) => id > after && (guest === undefined || name === guest),
        guestInfo,
      ),
      cursor: ({ id }) => id,
    }),
  }),
  json({
    method: 'GET',
    path: '/v1/guests/{name}',
    summary: 'One guest',
    params: nameParams,
    json: guestSchema,
    refusals: { 404: 'There is no such guest' },
    grant: 'self',
    respond: ({ network, params: { name }, guest }) => {
      if (guest !== undefined && name !== guest) throw new Problem(403, `${guest} may ask about itself only`);
      return guestInfo(find(network, name));
    },
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/guests/{name}',
    summary: 'Detach a guest: its flows are reset, its link is closed, its lease stays',
    params: nameParams,
    refusals: { 404: 'There is no such guest' },
    respond: ({ network, params }) => {
      find(network, params.name).detach();
    },
  }),
  page({
    method: 'GET',
    path: '/v1/leases',
    summary: 'Addresses in force',
    item: leaseSchema,
    respond: ({ network, after }) => ({
      items: network
        .leases()
        .map((lease) => ({ ...lease, expiresIn: Number.isFinite(lease.expiresIn) ? lease.expiresIn : null }))
        .filter(({ ip }) => numberOf(ip) > after)
        .sort((a, b) => numberOf(a.ip) - numberOf(b.ip)),
      cursor: ({ ip }) => numberOf(ip),
    }),
  }),
];

function numberOf(ip: string): number {
  return parseIpv4(ip) ?? 0;
}
