/** What the control API gives, as types. */
import type * as z from 'zod';
import type * as policy from './policy-schemas.js';
import type * as schemas from './schemas.js';

export type ApiVersion = z.output<typeof schemas.versionSchema>;
export type ApiHealth = z.output<typeof schemas.healthSchema>;
export type ApiFlow = z.output<typeof schemas.flowSchema>;
export type ApiNetwork = z.output<typeof schemas.networkSchema>;
export type ApiGuest = z.output<typeof schemas.guestSchema>;
export type ApiLease = z.output<typeof schemas.leaseSchema>;
export type ApiPort = z.output<typeof schemas.portSchema>;
export type ApiStats = z.output<typeof schemas.statsSchema>;
export type ApiLogLevel = z.output<typeof schemas.logLevelSchema>;
export type ApiPolicy = z.output<typeof policy.policySchema>;
export type ApiPolicyChange = z.output<typeof policy.policyChangeSchema>;
export type ApiRule = z.output<typeof policy.ruleSchema>;
export type ApiRuleAdd = z.output<typeof policy.ruleAddSchema>;
export type ApiDecision = z.output<typeof policy.decisionSchema>;
export type ApiQuestion = z.output<typeof policy.questionSchema>;
export type ApiAnswer = z.output<typeof policy.answerSchema>;
export type ApiLearned = z.output<typeof policy.learnedSchema>;
export type ApiExplainQuery = z.output<typeof policy.explainQuery>;
export type ApiExplanation = z.output<typeof policy.explanationSchema>;
export type ApiEvent = z.output<typeof schemas.eventSchema>;
export type ApiZone = z.output<typeof schemas.zoneSchema>;
export type ApiTcpInfo = z.output<typeof schemas.tcpInfoSchema>;
