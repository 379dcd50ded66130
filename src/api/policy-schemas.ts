/** The values of the control API that are about the policy. */
import * as z from 'zod';
import { field } from '../config/index.js';

export const counters = z.record(z.string(), z.number()).describe('Counters by name; names may be added');

const end = z
  .boolean({ error: 'true or false' })
  .optional()
  .describe('true: end flows that are not allowed any more. Default false');

export const ruleSchema = z.strictObject({
  id: z.int().describe('Unique in its network, never used again'),
  rule: z.string().describe('As it was written'),
  decided: z.int().describe('How often it decided'),
});

export const policySchema = z.strictObject({
  default: z.literal(['allow', 'deny', 'ask']).describe('What happens where no rule fits'),
  rules: z.array(ruleSchema).describe('Of all guests, in the order in which they are tried'),
  log: z.literal(['denied', 'all']).describe('Which decisions the audit log tells'),
  decisions: counters.describe(
    'How often each rule decided, those of single guests and the built-in ones included',
  ),
});

export const policyChangeSchema = z.strictObject({
  default: field.oneOf('allow', 'deny', 'ask').optional(),
  rules: z
    .array(field.rule, { error: 'a list of rules' })
    .max(10_000, { error: '10,000 rules at most' })
    .optional()
    .describe('Those that were there already keep their id and their count'),
  log: field.oneOf('denied', 'all').optional(),
  end,
});

export const ruleAddSchema = z.strictObject({
  rule: field.rule.describe('Such as "allow tcp:*.example.com:443"'),
  before: field
    .whole('', 1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('The id of the rule before which it is put. Default: behind all'),
  end,
});

export const endQuery = z.strictObject({ end });

export const decisionSchema = z.strictObject({
  id: z.int().describe('The same in the log and wherever the guest is told'),
  time: z.string().describe('ISO 8601'),
  guest: z.string(),
  protocol: z
    .literal(['tcp', 'udp', 'icmp', 'dns', 'api'])
    .describe('dns: a name was asked for; api: the guest asked the control API'),
  source: z.string().exactOptional(),
  address: z.string().exactOptional(),
  port: z.int().exactOptional(),
  name: z.string().exactOptional().describe('By which the address is known, or that was asked for'),
  verdict: z.literal(['allow', 'deny', 'ask']),
  rule: z.string(),
  why: z.string(),
  suppressed: z.int().exactOptional().describe('Decisions before it that were too many to be told'),
});

export const questionSchema = z.strictObject({
  id: z.int().describe('The number of the decision to ask'),
  guest: z.string(),
  protocol: z.literal(['tcp', 'udp', 'icmp']),
  source: z.string(),
  address: z.string(),
  port: z.int().optional(),
  name: z.string().optional().describe('The name that led the guest there'),
  rule: z.string().describe('The rule that wants somebody asked'),
  timeout: z.number().describe('ms from when it was asked; then it is denied'),
});

export const answerSchema = z.strictObject({
  verdict: field.oneOf('allow', 'deny'),
  remember: z
    .boolean({ error: 'true or false' })
    .optional()
    .describe('true: make a rule of it, before the one that asked. Default false'),
});

export const learnedSchema = z.strictObject({
  log: z.literal(['denied', 'all']).describe('all: it goes on'),
  rules: z.array(z.string()).describe('What allows the flows that were allowed while the log told all'),
});

export const decisionQuery = z.strictObject({
  guest: field.guestName.optional().describe('Only decisions about this guest'),
  verdict: field.oneOf('allow', 'deny', 'ask').optional(),
});

export const explainQuery = z.strictObject({
  host: z.string({ error: 'an IPv4 address or a name' }).min(1).max(253).describe('IPv4 address or name'),
  port: field.whole('', 1, 65_535).optional(),
  protocol: field.oneOf('tcp', 'udp', 'icmp').optional().describe('Default tcp'),
  guest: field.guestName.optional().describe('Default: the first guest'),
});

export const explanationSchema = z.strictObject({
  address: z.string().describe('What is judged: the address, or a name that may not be resolved'),
  verdict: z.literal(['dial', 'service', 'deny', 'ask']),
  via: z.literal(['direct', 'alias', 'redirect']).exactOptional().describe('dial: how'),
  to: z.string().exactOptional().describe('dial by redirect: where it is led'),
  service: z.string().exactOptional().describe('service: which'),
  how: z
    .literal(['reset', 'prohibited', 'unreachable', 'silent'])
    .exactOptional()
    .describe('deny: how it is told'),
  rule: z.string(),
  why: z.string(),
  route: z
    .strictObject({
      upstreams: z.array(z.string()).describe('In the order in which they are tried; "direct": straight'),
      why: z.string(),
    })
    .exactOptional()
    .describe('A connection to a web server that the HTTP proxy intercepts: by whom it goes'),
});

/** The path's `{id}`. */
export const idParams = z.strictObject({ id: field.whole('', 1, Number.MAX_SAFE_INTEGER) });
