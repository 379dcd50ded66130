/** Who is there, and whether it works: what anybody at the door may ask. */
import { json } from '../route.js';
import { healthSchema, versionSchema } from '../schemas.js';
import { packageVersion } from '../version.js';

export const statusRoutes = [
  json({
    method: 'GET',
    path: '/v1/version',
    summary: 'Version and features',
    rights: 'status',
    grant: 'status',
    json: versionSchema,
    respond: ({ network, host, rights }) => ({
      name: 'netproxy' as const,
      version: packageVersion(),
      api: 1 as const,
      node: process.versions.node,
      native: network.hub !== undefined,
      features: [
        'flows',
        'ports',
        'events',
        'capture',
        'policy',
        ...(host.logLevel === undefined ? [] : ['log-level']),
        ...(host.shutdown === undefined ? [] : ['shutdown']),
      ],
      rights,
    }),
  }),
  json({
    method: 'GET',
    path: '/v1/health',
    summary: 'Whether it works, in three numbers',
    rights: 'status',
    grant: 'status',
    json: healthSchema,
    respond: ({ network }) => ({
      status: 'ok' as const,
      guests: network.guests().length,
      leases: network.leases().length,
      flows: network.flowCount,
    }),
  }),
];
