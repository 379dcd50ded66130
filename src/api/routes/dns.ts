/** The gateway's DNS: how names are found, what was answered, zones of one's own. */
import * as z from 'zod';
import { field } from '../../config/index.js';
import { typeName } from '../../dns/index.js';
import type { DnsLogEntry, ZoneConfig } from '../../index.js';
import { Problem } from '../problem.js';
import { json, nothing, page, stream } from '../route.js';
import { dnsAnswerSchema, dnsExplainQuery, dnsExplanationSchema, dnsLogQuery } from '../dns-schemas.js';
import { zoneSchema } from '../schemas.js';
import { MAX_QUEUED } from '../streams.js';
import type { ApiDnsAnswer, ApiZone } from '../types.js';

const nameParams = z.strictObject({ name: field.dnsName });

const missing = (name: string): Problem => new Problem(404, `there is no zone ${name}`);

/** A zone is kept as it was given, so it has the form in which it is asked for. */
function given(zone: ZoneConfig | undefined, name: string): ApiZone {
  if (zone === undefined) throw missing(name);
  return zone as ApiZone;
}

export const dnsRoutes = [
  json({
    method: 'GET',
    path: '/v1/dns/explain',
    summary: 'How a name is found, step by step, and what is found',
    query: dnsExplainQuery,
    json: dnsExplanationSchema,
    respond: async ({ network, query }) => {
      const { steps, answers, rcode, ...told } = await network.dns.explain(query);
      return { ...told, steps: [...steps], answers: [...answers], ...(rcode === undefined ? {} : { rcode }) };
    },
  }),
  stream({
    method: 'GET',
    path: '/v1/dns/log',
    summary: 'Answers to guests, as server-sent events',
    query: dnsLogQuery,
    type: 'text/event-stream',
    item: dnsAnswerSchema,
    refusals: { 503: 'Too many streams are open' },
    respond: ({ network, streams, query: { guest, last = 0, follow = true } }) => {
      streams.check();
      return (response) => {
        streams.enter(response);
        const wants = (entry: DnsLogEntry): boolean => guest === undefined || entry.guest === guest;
        const past = network.dns.log().filter(wants);
        for (const entry of past.slice(Math.max(0, past.length - last))) response.write(frameOf(entry));
        if (!follow) {
          response.end();
          return;
        }
        response.flushHeaders();
        const end = network.dns.watch((entry) => {
          // Who reads too slowly misses the rest.
          if (!wants(entry)) return;
          if (response.writableLength <= MAX_QUEUED) response.write(frameOf(entry));
          else response.end();
        });
        response.once('close', end);
      };
    },
  }),
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

function frameOf({ id, time, type, server, ...rest }: DnsLogEntry): string {
  const answer: ApiDnsAnswer = {
    time: new Date(time).toISOString(),
    ...rest,
    type: typeName(type),
    ...(server === undefined ? {} : { server }),
  };
  return `id: ${id}\nevent: answer\ndata: ${JSON.stringify(answer)}\n\n`;
}

function sameName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
