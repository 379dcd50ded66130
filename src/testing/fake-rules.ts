/** Which script a destination of a fake host follows. */
import { type Cidr, type Ipv4, cidrContains, parseCidr, parseIpv4 } from '../core/index.js';

interface Rule<T> {
  readonly cidr: Cidr | undefined;
  readonly port: number | undefined;
  readonly script: T;
}

/** Scripts by destination; the one that was added last goes first. */
export class FakeRules<T> {
  private readonly rules: Rule<T>[] = [];

  /** `where`: `IP`, `IP:PORT`, `CIDR`, `CIDR:PORT`, `*:PORT` or `*`. */
  add(where: string, script: T): void {
    const match = /^(\*|[\d./]+)(?::(\d+))?$/.exec(where);
    const cidr = match === null || match[1] === '*' ? undefined : parseCidr(match[1]!);
    if (match === null || (match[1] !== '*' && cidr === undefined)) {
      throw new TypeError(`bad destination "${where}": allowed are IP, CIDR or *, with or without :PORT`);
    }
    this.rules.unshift({ cidr, port: match[2] === undefined ? undefined : Number(match[2]), script });
  }

  find(host: string | Ipv4, port: number): T | undefined {
    const ip = typeof host === 'string' ? parseIpv4(host) : host;
    const fits = ({ cidr, port: wanted }: Rule<T>): boolean =>
      (wanted === undefined || wanted === port) &&
      (cidr === undefined || (ip !== undefined && cidrContains(cidr, ip)));
    return this.rules.find(fits)?.script;
  }
}
