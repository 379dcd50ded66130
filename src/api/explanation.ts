/** What would become of a flow, as a plain object. */
import { formatIpv4 } from '../core/index.js';
import type { Explanation } from '../index.js';
import type { ApiExplanation } from './types.js';

export function explanationOf({ verdict, rule, why, address, route }: Explanation): ApiExplanation {
  const by =
    route === undefined
      ? {}
      : { route: { upstreams: route.upstreams.map(({ name }) => name), why: route.why } };
  return { address, verdict: verdict.kind, ...details(verdict), rule, why, ...by };
}

function details(verdict: Explanation['verdict']): Pick<ApiExplanation, 'service' | 'how' | 'via' | 'to'> {
  switch (verdict.kind) {
    case 'service':
      return { service: verdict.service };
    case 'deny':
      return { how: verdict.how };
    case 'ask':
      return details(verdict.then);
    case 'dial':
      return verdict.via === 'redirect'
        ? { via: verdict.via, to: `${formatIpv4(verdict.ip)}:${verdict.port}` }
        : { via: verdict.via };
  }
}
