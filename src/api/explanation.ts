/** What would become of a flow, as a plain object. */
import type { Explanation } from '../index.js';
import type { ApiExplanation } from './types.js';

export function explanationOf({ verdict, rule, why, address }: Explanation): ApiExplanation {
  return { address, verdict: verdict.kind, ...details(verdict), rule, why };
}

function details(verdict: Explanation['verdict']): Pick<ApiExplanation, 'service' | 'how' | 'via'> {
  switch (verdict.kind) {
    case 'service':
      return { service: verdict.service };
    case 'deny':
      return { how: verdict.how };
    case 'dial':
      return { via: verdict.via };
  }
}
