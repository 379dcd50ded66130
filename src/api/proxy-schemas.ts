/** Values of the control API about the HTTP proxy's settings. Credentials are taken and never given. */
import * as z from 'zod';
import { field } from '../config/index.js';

const source = z
  .literal(['api', 'config', 'file', 'environment', 'system', 'none'])
  .describe('Who decides; none: nobody names a proxy');
const names = z
  .array(z.string())
  .describe('Upstreams in the order in which they are tried, without credentials');
const millis = z.number().exactOptional();

const upstreams = z
  .array(field.upstream, { error: 'a list of HTTP proxies' })
  .max(16, { error: '16 proxies at most' });

export const proxyChoiceSchema = z.strictObject({
  http: upstreams.optional().describe('Upstreams for http, with their credentials; "direct" goes straight'),
  https: upstreams.optional().describe('For CONNECT. Default: those of http'),
  noProxy: z
    .array(field.noProxy, { error: 'a list of names, addresses and networks' })
    .max(4096, { error: '4,096 entries at most' })
    .optional()
    .describe('What goes past them'),
  pac: field.pac.optional().describe('Proxy auto-config file, by path or URL; it goes before the lists'),
});

export const proxySchema = z.strictObject({
  source,
  from: z.string().describe('The same for people'),
  http: names,
  https: names,
  noProxy: z.array(z.string()),
  pac: z
    .strictObject({
      where: z.string().describe('Without user, password and query'),
      state: z.literal(['not read', 'works', 'fails']),
      trouble: z.string().exactOptional(),
      asked: z.int().describe('Answers that were looked for'),
      kept: z.int().describe('Answers that were known'),
      failed: z.int().describe('Answers that could not be had'),
      ended: z.int().describe('Threads that were ended because they took too long'),
    })
    .exactOptional(),
  sources: z.array(source).describe('All that say something, the one that decides first'),
  credentials: z
    .literal(['command', 'environment'])
    .exactOptional()
    .describe('Where those come from that are in no URL'),
  upstreams: z.array(
    z.strictObject({
      name: z.string(),
      state: z.literal(['up', 'down']).describe('down: it failed last, others are tried before it'),
      connections: z.int(),
      failures: z.int(),
      requests: z.int(),
      connectMillis: millis.describe('ms until a connection stood, mean'),
      answerMillis: millis.describe('ms until the head of an answer, mean'),
    }),
  ),
});

export const proxyExplainBody = z.strictObject({
  url: z
    .string({ error: 'a URL' })
    .min(1, { error: 'a URL' })
    .max(4096, { error: '4,096 characters at most' })
    .describe('http, https, ws or wss; or HOST:PORT'),
});

export const proxyExplanationSchema = z.strictObject({
  url: z.string().describe('As it was looked at: without its path'),
  source,
  upstreams: names,
  why: z.string(),
  past: z.string().exactOptional().describe('The entry that sends it past the proxies'),
  refused: z.string().exactOptional().describe('What the guest is told instead'),
});
