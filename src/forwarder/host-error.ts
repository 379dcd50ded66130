/** What a guest is told by ICMP when the host reports an error: the message that came, or the one that a router would send. */
import type { Errno, HostIcmp } from '../core/index.js';
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  UNREACHABLE_FRAGMENTATION,
  UNREACHABLE_HOST,
  UNREACHABLE_MAX,
  UNREACHABLE_NET,
  UNREACHABLE_PORT,
  UNREACHABLE_PROHIBITED,
} from '../icmp/index.js';

/** Smallest MTU of a next hop (RFC 791 section 3.2); 0 where a router did not say it (RFC 1191 section 5). */
const MIN_MTU = 68;

/** An error for a guest. `from` undefined: nobody outside said it. */
export interface GuestError {
  readonly type: number;
  readonly code: number;
  readonly mtu: number;
}

/** Undefined where there is no message for it. */
export function errorForGuest(errno: Errno, mtu: number, icmp: HostIcmp | undefined): GuestError | undefined {
  if (icmp === undefined) {
    const code = codeOf(errno);
    if (code === undefined) return undefined;
    return { type: ICMP_UNREACHABLE, code, mtu: code === UNREACHABLE_FRAGMENTATION ? mtu : 0 };
  }
  const { type, code } = icmp;
  if (type === ICMP_TIME_EXCEEDED && code <= 1) return { type, code, mtu: 0 };
  if (type !== ICMP_UNREACHABLE || code > UNREACHABLE_MAX) return undefined;
  if (code !== UNREACHABLE_FRAGMENTATION) return { type, code, mtu: 0 };
  return { type, code, mtu: mtu >= MIN_MTU && mtu <= 0xffff ? mtu : 0 };
}

function codeOf(errno: Errno): number | undefined {
  switch (errno) {
    case 'ECONNREFUSED':
      return UNREACHABLE_PORT;
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
      return UNREACHABLE_HOST;
    case 'ENETUNREACH':
    case 'ENETDOWN':
      return UNREACHABLE_NET;
    case 'EACCES':
    case 'EPERM':
      return UNREACHABLE_PROHIBITED;
    case 'EMSGSIZE':
      return UNREACHABLE_FRAGMENTATION;
    default:
      return undefined;
  }
}
