/** Values of the control API about the gateway's DNS. */
import * as z from 'zod';
import { field } from '../config/index.js';
import { DNS_LOGGED, recordType } from '../dns/index.js';

const source = z
  .string()
  .describe('builtin, zone, hosts, cache, stale, resolver, relay, policy, limit, deadline, error');

export const dnsExplainQuery = z.strictObject({
  name: field.dnsName,
  type: field
    .matching('a record type such as A, MX or TYPE257', (text) => recordType(text) !== undefined)
    .optional()
    .describe('Default A'),
});

export const dnsExplanationSchema = z.strictObject({
  name: z.string(),
  type: z.string(),
  steps: z.array(
    z.strictObject({ source, answers: z.boolean().describe('false: it goes on'), detail: z.string() }),
  ),
  rcode: z.string().optional().describe('noError, nxDomain, …; absent: there was no answer'),
  answers: z.array(z.string()).describe('Records of the answer section'),
});

export const dnsLogQuery = z.strictObject({
  guest: field.guestName.optional().describe('Only answers to this guest'),
  last: field
    .whole('answers', 0, DNS_LOGGED)
    .optional()
    .describe('Begin with this many that were given already'),
  follow: z.boolean({ error: 'true or false' }).optional().describe('false: end behind those. Default true'),
});

export const dnsAnswerSchema = z.strictObject({
  time: z.string().describe('ISO 8601'),
  guest: z.string(),
  name: z.string(),
  type: z.string(),
  source,
  rcode: z.int(),
  millis: z.number().describe('ms that it took'),
  transport: z.literal(['udp', 'tcp']),
  server: z.string().exactOptional().describe('Which name server said so'),
  answers: z.int().describe('Records in the answer section'),
});
