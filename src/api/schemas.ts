/** The values of the control API. Each has a name in the OpenAPI document; a client's types are made from them, too. */
import * as z from 'zod';
import { field, zoneSchema } from '../config/index.js';
import { TCP_STATES } from '../tcp/index.js';
import { counters, decisionSchema, questionSchema } from './policy-schemas.js';

const count = z.number().describe('A count');

export const versionSchema = z.strictObject({
  name: z.literal('netproxy'),
  version: z.string().describe('Of the package'),
  api: z.literal(1).describe('Of the control API: the 1 of /v1'),
  node: z.string(),
  native: z.boolean().describe('Whether the native addon is there'),
  features: z
    .array(z.string())
    .describe('What this program offers beside the endpoints that are always there'),
  rights: z.literal(['status', 'read', 'full', 'guest']).describe('What you may do'),
});

export const healthSchema = z.strictObject({
  status: z.literal('ok'),
  guests: count,
  leases: count,
  flows: count,
});

const bytes = z.number().describe('bytes');
const millis = z.number().describe('ms');

/** `TcpInfo` of src/tcp; members that are added there reach clients without being named here. */
export const tcpInfoSchema = z
  .object({
    state: z.literal(TCP_STATES).describe('RFC 9293 section 3.3.2'),
    srtt: millis,
    rttvar: millis,
    minRtt: millis.exactOptional(),
    rto: millis,
    backoff: count,
    cwnd: bytes,
    ssthresh: bytes.exactOptional(),
    flight: bytes,
    sacked: bytes,
    lost: bytes,
    pipe: bytes,
    sendWindow: bytes,
    receiveWindow: bytes,
    mss: bytes,
    sendScale: count,
    receiveScale: count,
    timestamps: z.boolean(),
    sack: z.boolean(),
    scaling: z.boolean(),
    ecn: z.boolean(),
    retransmits: count.describe('Segments sent again'),
    bytesIn: bytes,
    bytesOut: bytes,
    receiveQueue: bytes,
    sendQueue: bytes,
    outOfOrder: bytes,
    congestion: z.string(),
    recovery: z.literal(['none', 'fast', 'timeout']),
    probing: z.boolean(),
  })
  .describe('What ss -ti shows');

export const flowSchema = z.strictObject({
  id: z.int().describe('Unique in its network, never used again'),
  protocol: z.literal(['tcp', 'udp']),
  direction: z.literal(['out', 'in']).describe('out: the guest began it'),
  guest: z.string(),
  guestAddress: z.string(),
  peer: z.string().describe("Where it goes on the host's side, or who came"),
  state: z.string(),
  bytesToHost: z.number(),
  bytesToGuest: z.number(),
  age: z.number().describe('ms since it began'),
  tcp: tcpInfoSchema.optional(),
});

export const problemSchema = z.strictObject({
  type: z.string().describe('about:blank: the status and the code say it'),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe('What failed, on what, and why'),
  code: z.string().describe('ERR_NETPROXY_…: branch on this'),
  remedy: z.string().optional().describe('What to do about it'),
  errno: z.string().optional().describe('Of the system, such as EADDRINUSE'),
});

export const networkSchema = z.strictObject({
  name: z.string(),
  subnet: z.string(),
  gateway: z.string(),
  gatewayMac: z.string(),
  guest: z.string().describe('Address of the first guest'),
  hostAlias: z.string().exactOptional().describe('Address by which guests reach the host; absent: off'),
  mtu: z.int(),
});

const link = z.strictObject({ kind: z.string(), name: z.string() });

export const guestSchema = z.strictObject({
  id: z.int().describe('Unique in its network, never used again'),
  name: z.string(),
  ip: z.string().optional().describe('Absent before it has an address'),
  mac: z.string().optional().describe('Absent before its first frame'),
  link,
  counters,
});

export const leaseSchema = z.strictObject({
  ip: z.string(),
  mac: z.string(),
  hostname: z.string().optional(),
  guest: z.string().optional(),
  expiresIn: z.number().nullable().describe('ms from now; null: never'),
});

export const portSchema = z.strictObject({
  id: z.int().describe('Unique in its network, never used again'),
  protocol: z.literal(['tcp', 'udp']),
  host: z.string().describe('An address, localhost or * (IPv4 and IPv6), or unix:/PATH'),
  port: z.int().describe('The chosen one where 0 was asked for; 0 of a unix socket'),
  target: z.string().describe('A name, an address, or "first guest"'),
  guestPort: z.int(),
  spec: z.string().describe('As --publish takes it'),
  kept: z.boolean().describe('It comes back after a restart'),
  waiting: z
    .string()
    .exactOptional()
    .describe('Why it does not listen yet: it came back, and somebody else has its place'),
  clients: count.describe('Connections, or UDP clients, of now'),
  counters,
});

function event<const E extends string, S extends z.core.$ZodLooseShape>(name: E, shape: S) {
  return z.strictObject({ time: z.string().describe('ISO 8601'), event: z.literal(name), ...shape });
}

/** What happens; `dropped` is told to a client that read too slowly, and is its last one. */
export const eventSchema = z.discriminatedUnion('event', [
  event('started', { addresses: z.record(z.string(), z.unknown()), ports: z.array(portSchema) }),
  event('attached', { guest: z.string(), id: z.int(), link }),
  event('detached', { guest: z.string(), id: z.int(), link, reason: z.string().exactOptional() }),
  event('lease', {
    kind: z.string().describe('bound, renewed, released, expired or declined'),
    ip: z.string(),
    mac: z.string(),
    hostname: z.string().optional(),
    guest: z.string().optional(),
  }),
  event('published', { port: portSchema }),
  event('unpublished', { port: portSchema }),
  event('ask', { question: questionSchema }),
  event('answered', {
    question: questionSchema,
    outcome: z.literal(['allowed', 'denied', 'timedOut', 'gone']).describe('gone: the guest gave up'),
  }),
  event('decision', { decision: decisionSchema }),
  event('warning', { message: z.string() }),
  event('stopped', {}),
  event('dropped', { message: z.string() }),
]);

export const EVENTS = [
  'started',
  'attached',
  'detached',
  'lease',
  'published',
  'unpublished',
  'ask',
  'answered',
  'decision',
  'warning',
  'stopped',
] as const;

const keep = z
  .boolean({ error: 'true or false' })
  .optional()
  .describe('Whether it comes back after a restart, where there is a state file. Default true');

export const publishSchema = z.strictObject({
  spec: field.publishOne.describe('[GUEST@][HOSTIP:]HOSTPORT:[GUESTIP:]PORT[/tcp|udp][,OPTION…]'),
  ...field.publishOptions,
  keep,
});

export const publishRangeSchema = z.strictObject({
  spec: field.publish.describe(
    'As of one port, with ranges of one length: 8000-8009:9000-9009; all are published, or none',
  ),
  ...field.publishOptions,
  keep,
});

export const portsSchema = z.strictObject({ items: z.array(portSchema) });

export const statsSchema = z
  .record(z.string(), z.record(z.string(), z.unknown()))
  .describe('Counters of every part, in nested objects. Names may change');

export const logLevelSchema = z.strictObject({
  level: field.oneOf('debug', 'info', 'warn', 'error', 'silent'),
});

export { zoneSchema };
