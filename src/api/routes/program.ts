/** The program around the network: counters, logs, its end. */
import { lent } from '../host.js';
import { json, nothing } from '../route.js';
import type { ApiStats } from '../types.js';
import { logLevelSchema, statsSchema } from '../schemas.js';

const NOT_LENT = { 501: 'This program does not offer it' };

export const programRoutes = [
  json({
    method: 'GET',
    path: '/v1/stats',
    summary: 'Counters of every part',
    json: statsSchema,
    respond: ({ network }) => {
      const stats: object = network.stats();
      return stats as ApiStats;
    },
  }),
  json({
    method: 'GET',
    path: '/v1/log-level',
    summary: 'The level of the logs',
    json: logLevelSchema,
    refusals: NOT_LENT,
    respond: ({ host }) => ({ level: lent(host.logLevel, 'the level of the logs').level }),
  }),
  json({
    method: 'PUT',
    path: '/v1/log-level',
    summary: 'Change the level of the logs, from the next line on',
    body: logLevelSchema,
    json: logLevelSchema,
    refusals: NOT_LENT,
    respond: ({ host, body }) => {
      lent(host.logLevel, 'the level of the logs').level = body.level;
      return body;
    },
  }),
  nothing({
    method: 'POST',
    path: '/v1/shutdown',
    summary: 'End the program as SIGTERM does',
    status: 202,
    refusals: NOT_LENT,
    respond: ({ host }) => {
      const shutdown = lent(host.shutdown, 'its end');
      // The answer goes out first.
      setImmediate(shutdown);
    },
  }),
];
