/** What a lookup came to, and the outcomes that need no lookup. */
import type { AnswerParts } from './answer.js';
import { ExtendedError, Rcode } from './codes.js';
import type { DnsQuery } from './message.js';
import type { DnsDenial, DnsSource, DnsUpstreamError } from './types.js';

/** Parts of an answer of ours. */
export interface Authored {
  readonly source: DnsSource;
  readonly parts: AnswerParts;
}

/** Bytes of a name server. */
export interface Relayed {
  readonly source: DnsSource;
  readonly bytes: Uint8Array;
  readonly server: string | undefined;
}

export type Outcome = Authored | Relayed;

/** What an answer is written to: a query, or as much of one as could be read. */
export type Answerable = Omit<DnsQuery, 'question'> & Partial<Pick<DnsQuery, 'question'>>;

function authored(source: DnsSource, rcode: number, code: number, text: string): Authored {
  return { source, parts: { rcode, error: { code, text } } };
}

export const NO_TRANSFERS = authored(
  'error',
  Rcode.notImp,
  ExtendedError.notSupported,
  'no zone transfers here',
);
export const TOO_MANY = authored('limit', Rcode.refused, ExtendedError.other, 'too many queries on the way');
export const TOO_FAST = authored('limit', Rcode.refused, ExtendedError.other, 'too many queries a second');
export const TOO_LATE = authored(
  'deadline',
  Rcode.servFail,
  ExtendedError.noReachableAuthority,
  'no answer in time',
);
export const BROKEN = authored('error', Rcode.servFail, ExtendedError.other, 'the lookup failed');

export function failure(error: DnsUpstreamError): Authored {
  const code = error.code === 'timeout' ? ExtendedError.noReachableAuthority : ExtendedError.networkError;
  return authored('error', Rcode.servFail, code, error.message);
}

/** The same decision is in the audit log. */
export function denied({ id, rule }: DnsDenial): Authored {
  const text = `denied by the policy of this network: rule "${rule}", decision ${id}`;
  return authored('policy', Rcode.refused, ExtendedError.prohibited, text);
}
