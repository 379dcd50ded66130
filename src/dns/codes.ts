/** Numbers of DNS (RFC 1035 unless named): types, classes, rcodes, header bits, extended errors. */

export const DNS_PORT = 53;

export const RecordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

export const Rcode = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  /** Extended: only with EDNS (RFC 6891 section 6.1.3). */
  badVers: 16,
} as const;
export type RcodeName = keyof typeof Rcode;

/** Bits of the second header word. */
export const Flag = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
  rcode: 0x000f,
} as const;

/** Option 15 of EDNS, extended DNS errors (RFC 8914). */
export const EXTENDED_ERROR_OPTION = 15;
export const ExtendedError = {
  other: 0,
  staleAnswer: 3,
  blocked: 15,
  prohibited: 18,
  notSupported: 21,
  noReachableAuthority: 22,
  networkError: 23,
} as const;
