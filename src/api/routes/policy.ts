/** The policy: rules come and go, decisions are told and explained. */
import type { AuditEntry } from '../../policy/index.js';
import type { AskQuestion, Network } from '../../index.js';
import { explanationOf } from '../explanation.js';
import { Problem } from '../problem.js';
import { json, nothing, page } from '../route.js';
import {
  answerSchema,
  decisionQuery,
  decisionSchema,
  endQuery,
  explainQuery,
  explanationSchema,
  idParams,
  learnedSchema,
  policyChangeSchema,
  policySchema,
  questionSchema,
  ruleAddSchema,
  ruleSchema,
} from '../policy-schemas.js';
import type { ApiDecision, ApiPolicy, ApiQuestion } from '../types.js';

export const policyRoutes = [
  json({
    method: 'GET',
    path: '/v1/policy',
    summary: 'The rules, and how often each decided',
    json: policySchema,
    respond: ({ network }) => policyOf(network),
  }),
  json({
    method: 'PUT',
    path: '/v1/policy',
    summary: 'Change the default action, all rules or the log at once; what is left out stays',
    body: policyChangeSchema,
    json: policySchema,
    respond: ({ network, body: { end, ...change } }) => {
      network.policy.set(change, { end });
      return policyOf(network);
    },
  }),
  json({
    method: 'POST',
    path: '/v1/policy/rules',
    summary: 'Add a rule; it holds for new flows at once',
    body: ruleAddSchema,
    json: ruleSchema,
    status: 201,
    respond: ({ network, body: { rule, before, end } }) => network.policy.add(rule, { before, end }),
  }),
  nothing({
    method: 'DELETE',
    path: '/v1/policy/rules/{id}',
    summary: 'Take a rule away',
    params: idParams,
    query: endQuery,
    refusals: { 404: 'There is no such rule' },
    respond: ({ network, params: { id }, query: { end } }) => {
      if (network.policy.remove(id, { end }) === undefined) throw new Problem(404, `there is no rule ${id}`);
    },
  }),
  page({
    method: 'GET',
    path: '/v1/policy/decisions',
    summary: 'The audit log: what was decided lately, the oldest first',
    query: decisionQuery,
    item: decisionSchema,
    respond: ({ network, query: { guest, verdict }, after }) => ({
      items: decisions(network, after, guest, verdict),
      cursor: ({ id }) => id,
    }),
  }),
  page({
    method: 'GET',
    path: '/v1/policy/asks',
    summary: 'Flows that wait for an answer',
    item: questionSchema,
    respond: ({ network, after }) => ({
      items: network.policy.asks().flatMap((one) => (one.id > after ? [questionOf(one)] : [])),
      cursor: ({ id }) => id,
    }),
  }),
  nothing({
    method: 'POST',
    path: '/v1/policy/asks/{id}',
    summary: 'Answer for a flow that waits',
    params: idParams,
    body: answerSchema,
    refusals: { 404: 'There is no such question, or it was answered' },
    respond: ({ network, params: { id }, body: { verdict, remember } }) => {
      if (!network.policy.answer(id, verdict, { remember }))
        throw new Problem(404, `there is no question ${id}; it may be answered, or its time over`);
    },
  }),
  json({
    method: 'GET',
    path: '/v1/policy/learned',
    summary: 'Rules that allow what was allowed while the log told all',
    json: learnedSchema,
    respond: ({ network: { policy } }) => ({ log: policy.log, rules: policy.learned() }),
  }),
  json({
    method: 'GET',
    path: '/v1/policy/explain',
    summary: 'What would become of a flow, and which rule says so',
    query: explainQuery,
    json: explanationSchema,
    refusals: { 502: 'The name has no IPv4 address' },
    respond: async ({ network, query }) => explanationOf(await network.explain(query)),
  }),
];

function policyOf({ policy }: Network): ApiPolicy {
  return {
    default: policy.default,
    rules: policy.rules(),
    log: policy.log,
    decisions: Object.fromEntries(policy.counts()),
  };
}

function* decisions(
  network: Network,
  after: number,
  guest: string | undefined,
  verdict: string | undefined,
): Generator<ApiDecision | undefined> {
  for (const entry of network.policy.decisions(after)) {
    const fits =
      (guest === undefined || entry.guest === guest) && (verdict === undefined || entry.verdict === verdict);
    yield fits ? decisionOf(entry) : undefined;
  }
}

/** A question as clients get it. */
export function questionOf(asked: AskQuestion): ApiQuestion {
  const { id, guest, protocol, source, address, port, name, rule, timeout } = asked;
  return { id, guest, protocol, source, address, port, name, rule, timeout };
}

/** A decision as clients get it. */
export function decisionOf(entry: AuditEntry): ApiDecision {
  return { ...entry, time: new Date(entry.time).toISOString() };
}
