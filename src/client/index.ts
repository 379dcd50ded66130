/**
 * A typed client of the control API of a running netproxy.
 *
 * @example
 * import { connectApi } from 'netproxy/client';
 * const client = connectApi({ address: 'unix:/run/netproxy.sock' });
 * for await (const flow of client.flows({ guest: 'build' })) console.log(flow.peer, flow.state);
 */
export {
  ApiClient,
  connectApi,
  type ClientOptions,
  type DnsLogOptions,
  type EventsOptions,
  type FlowFilter,
} from './client.js';
export { defaultApiAddress } from './address.js';
export type {
  ApiAnswer,
  ApiDecision,
  ApiDnsAnswer,
  ApiDnsExplanation,
  ApiEvent,
  ApiExplainQuery,
  ApiExplanation,
  ApiFlow,
  ApiGuest,
  ApiHealth,
  ApiLearned,
  ApiLease,
  ApiLogLevel,
  ApiNetwork,
  ApiPolicy,
  ApiPolicyChange,
  ApiPort,
  ApiPublish,
  ApiProxy,
  ApiProxyChoice,
  ApiProxyExplanation,
  ApiQuestion,
  ApiRule,
  ApiRuleAdd,
  ApiStats,
  ApiTcpInfo,
  ApiVersion,
  ApiZone,
} from '../api/index.js';
export { NetproxyError } from '../core/index.js';
