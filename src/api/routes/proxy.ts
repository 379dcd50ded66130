/** The HTTP proxy's settings: what holds, what is set while it runs, whom a request would go to. */
import type { Network } from '../../index.js';
import { Problem } from '../problem.js';
import {
  proxyChoiceSchema,
  proxyExplainBody,
  proxyExplanationSchema,
  proxySchema,
} from '../proxy-schemas.js';
import { json, nothing } from '../route.js';
import type { ApiProxy, ApiProxyExplanation } from '../types.js';

const PATH = '/v1/proxy';

/** Its lists are never changed, only replaced. */
async function proxyOf(network: Network): Promise<ApiProxy> {
  return (await network.proxy.status()) as ApiProxy;
}

export const proxyRoutes = [
  json({
    method: 'GET',
    path: PATH,
    summary: 'Whom HTTP requests go to, who says so, and how the upstreams do',
    json: proxySchema,
    respond: ({ network }) => proxyOf(network),
  }),
  json({
    method: 'PUT',
    path: PATH,
    summary: 'Set the proxies, before all other sources; it holds for the next request',
    body: proxyChoiceSchema,
    json: proxySchema,
    respond: async ({ network, body }) => {
      network.proxy.set(body);
      return proxyOf(network);
    },
  }),
  json({
    method: 'PATCH',
    path: PATH,
    summary: 'The same; what is left out stays what it is at this moment',
    body: proxyChoiceSchema,
    json: proxySchema,
    respond: async ({ network, body }) => {
      await network.proxy.change(body);
      return proxyOf(network);
    },
  }),
  nothing({
    method: 'DELETE',
    path: PATH,
    summary: 'Take back what was set: the other sources hold again',
    refusals: { 404: 'Nothing was set' },
    respond: ({ network }) => {
      if (!network.proxy.clear()) throw new Problem(404, 'no proxy was set while this runs');
    },
  }),
  json({
    method: 'POST',
    path: `${PATH}/explain`,
    summary: 'Whom a request for a URL would go to, and why',
    rights: 'read',
    body: proxyExplainBody,
    json: proxyExplanationSchema,
    respond: async ({ network, body: { url } }) => (await network.proxy.explain(url)) as ApiProxyExplanation,
  }),
];
