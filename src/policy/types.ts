/** What is judged, what comes of it, and what the policy has to know for it. */
import type { Cidr, Ipv4 } from '../core/index.js';
import type { Audit } from './audit.js';
import type { NameMemory } from './names.js';
import type { PolicyProtocol, PolicyRule } from './rules.js';
import type { DefaultAction } from './table.js';

/** The host dials this address. */
export interface DialVerdict {
  readonly kind: 'dial';
  readonly ip: Ipv4;
  readonly port: number;
  readonly via: 'direct' | 'alias' | 'redirect';
}

/** What becomes of a flow. */
export type Verdict =
  /** A service of the gateway answers. */
  | { readonly kind: 'service'; readonly service: string }
  | DialVerdict
  /** Somebody is asked, and the flow waits; allowed, it becomes `then`. */
  | { readonly kind: 'ask'; readonly then: DialVerdict }
  /** Refused: as a closed port, as a firewall says it, as a router that finds nobody, or without a word. */
  | { readonly kind: 'deny'; readonly how: 'reset' | 'prohibited' | 'unreachable' | 'silent' };

export interface Decision {
  /** The same in the audit log and wherever the guest is told; 0: it was explained, nothing was decided. */
  readonly id: number;
  readonly verdict: Verdict;
  /** Which rule decided: the user's text, or the name of a built-in one. */
  readonly rule: string;
  /** The user's rule; undefined: a built-in one. */
  readonly ruleId?: number | undefined;
  /** The name by which the destination is known. */
  readonly name?: string | undefined;
  /** One sentence for people. */
  readonly why: string;
}

export interface Destination {
  readonly protocol: PolicyProtocol;
  readonly ip: Ipv4;
  /** 0 for ICMP. */
  readonly port: number;
  /** The guest's name. */
  readonly guest: string;
  /** The name that the flow says itself (SNI, Host), in lower case. */
  readonly name?: string | undefined;
  /** A name that leads there, whatever the guest was told. */
  readonly resolvedFrom?: string | undefined;
  /** Who, for the audit log. */
  readonly source?: Ipv4 | undefined;
  readonly sourcePort?: number | undefined;
}

export interface PolicyConfig {
  readonly subnet: Cidr;
  readonly gatewayIp: Ipv4;
  readonly hostAlias: Ipv4 | undefined;
  readonly rules: readonly PolicyRule[];
  readonly defaultAction: DefaultAction;
  /** Names of the host: rules about one of them are rules about the host. */
  readonly hostNames?: readonly string[] | undefined;
}

/** What the policy knows of the world. */
export interface PolicyWorld {
  /** Whether the host has this address on an interface; asked per new flow. */
  readonly isOwnAddress: (ip: Ipv4) => boolean;
  /** What a guest's DNS answers said. */
  readonly names?: ((guest: string) => NameMemory | undefined) | undefined;
  readonly audit?: Audit | undefined;
}
