/** The gateway's DNS: zones of one's own. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import type { ZoneConfig } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import { zoneSchema } from '../schemas.js';
import type { ApiZone } from '../types.js';

const nameParams = z.strictObject({ name: field.dnsName });

const missing = (name: string): Problem => new Problem(404, `there is no zone ${name}`);

/** A zone is kept as it was given, so it has the form in which it is asked for. */
function given(zone: ZoneConfig | undefined, name: string): ApiZone {
  if (zone === undefined) throw missing(name);
  return zone as ApiZone;
}

export const dnsRoutes = [
  page({
    method: 'GET',
    path: '/v1/dns/zones',
    summary: "Zones of one's own, as they were given",
    item: zoneSchema,
    respond: ({ network, after }) => {
      const places = new Map(network.dns.zones().map((zone, i) => [given(zone, ''), i + 1]));
      return { items: [...places.keys()].slice(after), cursor: (zone) => places.get(zone) ?? 1 };
    },
  }),
  json({
    method: 'GET',
    path: '/v1/dns/zones/{name}',
    summary: 'One zone',
    params: nameParams,
    json: zoneSchema,
    refusals: { 404: 'There is no such zone' },
    respond: ({ network, params: { name } }) => given(network.dns.zone(name), name),
  }),
  json({
    method: 'PUT',
    path: '/v1/dns/zones/{name}',
    summary: 'Add a zone, or replace the one of that name; it holds for the next question',
    params: nameParams,
    body: zoneSchema,
    json: zoneSchema,
    respond: ({ network, params: { name }, body }) => {
      if (sameName(body.name) !== sameName(name))
        throw new Problem(400, `the body is the zone ${body.name}, not ${name}`, {
          code: 'ERR_NETPROXY_CONFIG',
        });
      network.dns.putZone(body);
      return given(network.dns.zone(name), name);
    },
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/dns/zones/{name}',
    summary: 'Remove a zone',
    params: nameParams,
    refusals: { 404: 'There is no such zone' },
    respond: ({ network, params: { name } }) => {
      if (!network.dns.removeZone(name)) throw missing(name);
    },
  }),
];

function sameName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
