/**
 * The functions that a proxy auto-config file may call, in the language of the sandbox: they run inside of it, so what a script makes
 * them do counts as its own time and memory. `dnsResolveEx`, `myIpAddressEx` and `alert` come from outside (pac-worker.ts).
 *
 * As in Netscape's description of 1996 and in the libraries of Firefox and Chromium; those that end in Ex are Microsoft's, with IPv6.
 */
export const PAC_HELPERS = String.raw`
'use strict';
(() => {
  const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
  const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

  const ipv4 = (text) => {
    const parts = String(text).split('.');
    if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && part <= 255)) return undefined;
    return parts.reduce((value, part) => value * 256 + Number(part), 0);
  };

  const ipv6 = (text) => {
    let rest = String(text);
    const last = rest.slice(rest.lastIndexOf(':') + 1);
    const tail = ipv4(last);
    if (tail !== undefined)
      rest = rest.slice(0, -last.length) + Math.floor(tail / 65536).toString(16) + ':' + (tail % 65536).toString(16);
    const halves = rest.split('::');
    if (halves.length > 2) return undefined;
    const [head, end = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
    const zeros = 8 - head.length - end.length;
    if (halves.length === 2 ? zeros < 1 : zeros !== 0) return undefined;
    const groups = [...head, ...Array(zeros).fill('0'), ...end];
    if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
    return BigInt('0x' + groups.map((group) => group.padStart(4, '0')).join(''));
  };

  // A number and its bits; undefined where it is no address.
  const address = (text) => {
    const four = ipv4(text);
    if (four !== undefined) return [BigInt(four), 32];
    const six = ipv6(text);
    return six === undefined ? undefined : [six, 128];
  };

  const addressesOf = (host) => (address(host) !== undefined ? [String(host)] : dnsResolveEx(host).split(';'));

  // * and ?, in time that grows with the length of both only.
  const glob = (text, pattern) => {
    let at = 0, star = -1, from = 0, i = 0;
    while (i < text.length) {
      if (pattern[at] === '*') {
        star = at++;
        from = i;
      } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[i])) {
        at++;
        i++;
      } else if (star >= 0) {
        at = star + 1;
        i = ++from;
      } else return false;
    }
    while (pattern[at] === '*') at++;
    return at === pattern.length;
  };

  // Arguments without a last "GMT", and the date in that zone.
  const clock = (args) => {
    const list = [...args];
    const gmt = String(list[list.length - 1]).toUpperCase() === 'GMT';
    if (gmt) list.pop();
    const now = new Date();
    const get = (what) => now[(gmt ? 'getUTC' : 'get') + what]();
    return { list, get };
  };

  // Whether a value is from first to last, both included; a range whose end is before its begin goes over the turn.
  const within = (first, value, last) =>
    first <= last ? first <= value && value <= last : first <= value || value <= last;

  const part = (value) => {
    const month = MONTHS.indexOf(String(value).toUpperCase());
    if (month >= 0) return ['month', month];
    return Number(value) > 31 ? ['year', Number(value)] : ['day', Number(value)];
  };
  // Days since the year 0 of equally long months, of what is told.
  const rank = (parts) => {
    const at = Object.fromEntries(parts);
    return (at.year ?? 0) * 372 + (at.month ?? 0) * 31 + (at.day ?? 0);
  };
  const kinds = (parts) => parts.map(([kind]) => kind).sort().join();

  const helpers = {
    isPlainHostName: (host) => !/[.:]/.test(host),
    dnsDomainIs: (host, domain) => String(host).toLowerCase().endsWith(String(domain).toLowerCase()),
    localHostOrDomainIs: (host, name) => String(host) === String(name) || String(name).startsWith(host + '.'),
    isResolvable: (host) => dnsResolve(host) !== null,
    isResolvableEx: (host) => dnsResolveEx(host) !== '',
    dnsResolve: (host) => addressesOf(host).find((text) => ipv4(text) !== undefined) ?? null,
    isInNet: (host, pattern, mask) => {
      const [ip, base, bits] = [ipv4(dnsResolve(host)), ipv4(pattern), ipv4(mask)];
      if (ip === undefined || base === undefined || bits === undefined) return false;
      return (ip & bits) === (base & bits);
    },
    isInNetEx: (host, network) => {
      const [text, length] = String(network).split('/');
      const base = address(text);
      if (base === undefined || !/^\d{1,3}$/.test(length) || Number(length) > base[1]) return false;
      const shift = BigInt(base[1] - Number(length));
      return addressesOf(host).some((one) => {
        const [value, bits] = address(one) ?? [];
        return bits === base[1] && value >> shift === base[0] >> shift;
      });
    },
    myIpAddress: () => myIpAddressEx().split(';').find((text) => ipv4(text) !== undefined) ?? '127.0.0.1',
    // IPv6 first, then by number.
    sortIpAddressList: (list) => {
      const known = String(list).split(';').map((text) => [text.trim(), address(text.trim())]);
      if (known.some(([, at]) => at === undefined)) return '';
      known.sort(([, a], [, b]) => b[1] - a[1] || (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
      return known.map(([text]) => text).join(';');
    },
    getClientVersion: () => '1.0',
    dnsDomainLevels: (host) => String(host).split('.').length - 1,
    shExpMatch: (text, pattern) => glob(String(text), String(pattern)),
    weekdayRange() {
      const { list, get } = clock(arguments);
      const [first, last = first] = list.map((day) => DAYS.indexOf(String(day).toUpperCase()));
      return first >= 0 && last >= 0 && within(first, get('Day'), last);
    },
    dateRange() {
      const { list, get } = clock(arguments);
      const parts = list.map(part);
      if (parts.length === 0 || parts.some(([, value]) => Number.isNaN(value))) return false;
      const now = { day: get('Date'), month: get('Month'), year: get('FullYear') };
      const half = parts.length / 2;
      const [first, last] = [parts.slice(0, half), parts.slice(half)];
      if (!Number.isInteger(half) || kinds(first) !== kinds(last))
        return parts.every(([kind, value]) => now[kind] === value);
      return within(rank(first), rank(first.map(([kind]) => [kind, now[kind]])), rank(last));
    },
    timeRange() {
      const { list, get } = clock(arguments);
      const numbers = list.map(Number);
      if (numbers.some(Number.isNaN)) return false;
      const seconds = (h, m, s) => h * 3600 + m * 60 + s;
      const [h, m, s] = [get('Hours'), get('Minutes'), get('Seconds')];
      const [a, b, c, d, e, f] = numbers;
      switch (numbers.length) {
        case 1:
          return h === a;
        case 2:
          return within(a, h, b);
        case 4:
          return within(seconds(a, b, 0), seconds(h, m, s), seconds(c, d, 59));
        case 6:
          return within(seconds(a, b, c), seconds(h, m, s), seconds(d, e, f));
        default:
          return false;
      }
    },
  };
  for (const [name, value] of Object.entries(helpers))
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
})();
`;
