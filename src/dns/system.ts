/**
 * Addresses and reverse names through the operating system's resolver, for hosts whose settings DNS alone does not
 * know (VPN clients, mDNS, directory services). What such a resolver tells is less than DNS: no TTL, no SOA, and
 * often not whether a name exists without the asked type. For that the other family is asked too.
 */
import type { HostResolver } from '../core/index.js';
import { addressRecord, pointerRecord, type AnswerParts, type DnsRecord } from './answer.js';
import { ExtendedError, Rcode, RecordType } from './codes.js';
import { reverseAddress } from './names.js';

/** Seconds that an answer of the system may be kept. */
export const SYSTEM_TTL = 10;

const NO_NAME: ReadonlySet<string> = new Set(['ENOTFOUND', 'EAI_NONAME', 'ENONAME']);
const NO_DATA: ReadonlySet<string> = new Set(['ENODATA', 'EAI_NODATA', 'EAI_ADDRFAMILY']);

/** Whether the system's resolver can be asked: the others have no form that it understands. */
export function isSystemName(name: string): boolean {
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name);
}

/**
 * Whether a name would be read as an address in numbers (`127.1`, `0x7f000001`), not looked up. No top-level
 * domain is a number (RFC 1123 section 2.1), so such a name does not exist.
 */
export function isNumericName(name: string): boolean {
  return /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name);
}

export class SystemNames {
  private readonly resolver: HostResolver;

  constructor(resolver: HostResolver) {
    this.resolver = resolver;
  }

  /** Answers A, AAAA and PTR questions; never rejects. */
  async resolve(name: string, type: number): Promise<AnswerParts> {
    try {
      if (type === RecordType.PTR) return await this.pointers(name);
      return await this.addresses(name, type === RecordType.A ? 4 : 6);
    } catch (error) {
      return this.failure(codeOf(error));
    }
  }

  private async addresses(name: string, family: 4 | 6): Promise<AnswerParts> {
    if (isNumericName(name)) return { rcode: Rcode.nxDomain };
    try {
      const found = await this.resolver.lookup(name, family);
      const own = new Set(found.filter((entry) => entry.family === family).map((entry) => entry.address));
      return answers([...own].flatMap((address) => addressRecord(address, family, SYSTEM_TTL) ?? []));
    } catch (error) {
      const code = codeOf(error);
      if (NO_DATA.has(code)) return answers([]);
      if (!NO_NAME.has(code)) return this.failure(code);
    }
    try {
      await this.resolver.lookup(name, family === 4 ? 6 : 4);
      return answers([]);
    } catch (error) {
      const code = codeOf(error);
      if (NO_DATA.has(code)) return answers([]);
      // Not known to be missing: NXDOMAIN would hide the other family's addresses.
      return NO_NAME.has(code) ? { rcode: Rcode.nxDomain } : this.failure(code);
    }
  }

  private async pointers(name: string): Promise<AnswerParts> {
    const address = reverseAddress(name);
    if (address === undefined) return { rcode: Rcode.nxDomain };
    try {
      const found = await this.resolver.reverse(address);
      return answers([...new Set(found)].flatMap((target) => pointerRecord(target, SYSTEM_TTL) ?? []));
    } catch (error) {
      const code = codeOf(error);
      if (NO_DATA.has(code)) return answers([]);
      return NO_NAME.has(code) ? { rcode: Rcode.nxDomain } : this.failure(code);
    }
  }

  private failure(code: string): AnswerParts {
    const text = `the host's resolver failed (${code})`;
    return { rcode: Rcode.servFail, error: { code: ExtendedError.networkError, text } };
  }
}

function answers(list: readonly DnsRecord[]): AnswerParts {
  return { rcode: Rcode.noError, answers: list };
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : 'EUNKNOWN';
}
