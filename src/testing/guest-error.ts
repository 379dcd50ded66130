/** What goes wrong in a guest, by the name that the kernel of a real one would give it. */
import {
  UNREACHABLE_FRAGMENTATION,
  UNREACHABLE_HOST,
  UNREACHABLE_NET,
  UNREACHABLE_PORT,
  UNREACHABLE_PROTOCOL,
} from '../icmp/index.js';

export interface GuestErrorDetails {
  /** The ICMP message that was the reason. */
  readonly icmp?: {
    readonly type: number;
    readonly code: number;
    readonly from: string;
    readonly mtu: number;
  };
}

/** `code` is an errno name (`ECONNREFUSED`, `EHOSTUNREACH`, …) or one of Node's DNS codes (`ENOTFOUND`, `ENODATA`, …). */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  readonly code: string;
  readonly icmp: GuestErrorDetails['icmp'] | undefined;

  constructor(code: string, message: string, details: GuestErrorDetails = {}) {
    super(`${message} (${code})`);
    this.code = code;
    this.icmp = details.icmp;
  }
}

/** errno of an ICMP destination unreachable, as Linux maps it. */
export function errnoOfUnreachable(code: number): string {
  switch (code) {
    case UNREACHABLE_NET:
      return 'ENETUNREACH';
    case UNREACHABLE_HOST:
      return 'EHOSTUNREACH';
    case UNREACHABLE_PROTOCOL:
      return 'ENOPROTOOPT';
    case UNREACHABLE_PORT:
      return 'ECONNREFUSED';
    case UNREACHABLE_FRAGMENTATION:
      return 'EMSGSIZE';
    default:
      return 'EHOSTUNREACH';
  }
}
