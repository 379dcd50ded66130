/** Record types by the names that people use (the IANA registry's); the others are `TYPE65280` (RFC 3597 section 5). */

const NAMES: readonly (readonly [name: string, type: number])[] = [
  ['A', 1],
  ['NS', 2],
  ['CNAME', 5],
  ['SOA', 6],
  ['PTR', 12],
  ['HINFO', 13],
  ['MX', 15],
  ['TXT', 16],
  ['RP', 17],
  ['AFSDB', 18],
  ['AAAA', 28],
  ['LOC', 29],
  ['SRV', 33],
  ['NAPTR', 35],
  ['CERT', 37],
  ['DNAME', 39],
  ['DS', 43],
  ['SSHFP', 44],
  ['RRSIG', 46],
  ['NSEC', 47],
  ['DNSKEY', 48],
  ['NSEC3', 50],
  ['NSEC3PARAM', 51],
  ['TLSA', 52],
  ['SMIMEA', 53],
  ['CDS', 59],
  ['CDNSKEY', 60],
  ['OPENPGPKEY', 61],
  ['SVCB', 64],
  ['HTTPS', 65],
  ['SPF', 99],
  ['IXFR', 251],
  ['AXFR', 252],
  ['ANY', 255],
  ['URI', 256],
  ['CAA', 257],
];
const TYPES: ReadonlyMap<string, number> = new Map(NAMES);
const BY_NUMBER: ReadonlyMap<number, string> = new Map(NAMES.map(([name, type]) => [type, name]));

/** The number of a type by its name, `TYPE257` or `257`; undefined when it is none. */
export function recordType(text: string): number | undefined {
  const known = TYPES.get(text.toUpperCase());
  if (known !== undefined) return known;
  const match = /^(?:TYPE)?(\d{1,5})$/i.exec(text);
  const type = match === null ? 0 : Number(match[1]);
  return type >= 1 && type <= 65_535 ? type : undefined;
}

export function typeName(type: number): string {
  return BY_NUMBER.get(type) ?? `TYPE${type}`;
}
