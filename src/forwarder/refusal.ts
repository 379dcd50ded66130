/** What a guest sees of a connect() that failed. */
import type { Errno } from '../core/index.js';
import { UNREACHABLE_HOST, UNREACHABLE_NET, UNREACHABLE_PROHIBITED } from '../icmp/index.js';

/** How a refusal of the host is told to the guest. */
export type Refusal = 'reset' | 'silent' | 'retry' | { readonly icmp: number };

/** What an errno of connect() means for the guest (behaviour.md, "The host's errors are named"). */
export function refusalOf(errno: Errno): Refusal {
  switch (errno) {
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
      return { icmp: UNREACHABLE_HOST };
    case 'ENETUNREACH':
    case 'ENETDOWN':
      return { icmp: UNREACHABLE_NET };
    case 'EACCES':
    case 'EPERM':
      return { icmp: UNREACHABLE_PROHIBITED };
    case 'ETIMEDOUT':
      return 'silent';
    case 'EADDRNOTAVAIL':
    case 'EAGAIN':
      return 'retry';
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      // Weather: the guest's retransmitted SYN tries again.
      return 'silent';
    default:
      return 'reset';
  }
}
