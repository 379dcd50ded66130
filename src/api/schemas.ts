/** The values of the control API. Each has a name in the OpenAPI document; a client's types are made from them, too. */
import * as z from 'zod';
import { field } from '../config/index.js';
import { TCP_STATES } from '../tcp/index.js';

const count = z.number().describe('A count');
const counters = z.record(z.string(), z.number()).describe('Counters by name; names may be added');

export const versionSchema = z.strictObject({
  name: z.literal('netproxy'),
  version: z.string().describe('Of the package'),
  api: z.literal(1).describe('Of the control API: the 1 of /v1'),
  node: z.string(),
  native: z.boolean().describe('Whether the native addon is there'),
  features: z
    .array(z.string())
    .describe('What this program offers beside the endpoints that are always there'),
  rights: z.literal(['status', 'read', 'full']).describe('What you may do'),
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

/** The path's `{id}`. */
export const idParams = z.strictObject({ id: field.whole('', 1, Number.MAX_SAFE_INTEGER) });

export { counters };
