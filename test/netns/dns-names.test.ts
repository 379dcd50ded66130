/** Names through the gateway as real servers and clients see them: relayed answers, split DNS, built-in names. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { requireTool, requirements } from '../support/requirements.js';
import { Lab } from './lab.js';
import { scenarioReady } from './scenario.js';

const ready =
  scenarioReady('dns-names') &&
  requirements(
    'dns-names',
    ...['python3', 'dnsmasq', 'knotd', 'kdig', 'dig', 'nslookup', 'musl-gcc', 'curl'].map((tool) =>
      requireTool(tool),
    ),
  );

const GATEWAY = '192.168.127.1';

/** Asks each `[hexadecimal query, tcp?]` of standard input at a server; prints the answers in hexadecimal. */
const ASK = `
import json, socket, struct, sys
server = sys.argv[1]
def exactly(s, n):
    data = b''
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece: raise Exception('closed')
        data += piece
    return data
def ask(query, tcp):
    if tcp:
        with socket.create_connection((server, 53), 20) as s:
            s.sendall(struct.pack('>H', len(query)) + query)
            return exactly(s, struct.unpack('>H', exactly(s, 2))[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.sendto(query, (server, 53))
        return s.recv(65535)
print(json.dumps([ask(bytes.fromhex(q), tcp).hex() for q, tcp in json.load(sys.stdin)]))
`;

const TYPES: Readonly<Record<string, number>> = {
  A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, HINFO: 13, MX: 15, TXT: 16, RP: 17, AAAA: 28, LOC: 29, SRV: 33, NAPTR: 35,
  DNAME: 39, DS: 43, SSHFP: 44, RRSIG: 46, NSEC: 47, DNSKEY: 48, TLSA: 52, SVCB: 64, HTTPS: 65, CAA: 257,
}; // prettier-ignore

/** A zone with something of every type, and what is hard to carry. */
const ZONE = `$ORIGIN zone.test.
$TTL 300
@ SOA ns.zone.test. admin.zone.test. 1 3600 600 86400 120
@ NS ns
@ MX 10 mail
@ CAA 0 issue "ca.example"
ns A 198.18.0.1
both A 198.18.0.9
both AAAA fd00::9
only4 A 198.18.0.4
only6 AAAA fd00::6
alias CNAME both
out CNAME www.elsewhere.test.
tree DNAME zone.test.
all TXT "one" "two"
all HINFO "cpu" "os"
all RP admin.zone.test. all.zone.test.
all LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
all SRV 1 2 53 ns
all NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:x@zone.test!" .
all SSHFP 1 1 dd465c09cfa51fb45020cc83316fff21b9ec74ac
all TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
all HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=198.18.0.9
all SVCB 2 both port=5353
all PTR both
all CAA 128 iodef "mailto:x@zone.test"
sub.deep A 198.18.0.8
*.wild A 198.18.0.7
${Array.from({ length: 64 }, (_, i) => `many A 198.18.1.${i + 1}`).join('\n')}
${Array.from({ length: 240 }, (_, i) => `large TXT "${String(i).padStart(3, '0')}${'x'.repeat(247)}"`).join('\n')}
`;

const NAMES = [
  '@',
  'both',
  'only4',
  'only6',
  'alias',
  'out',
  'all',
  'many',
  'missing',
  'deep',
  'any.wild',
  'both.tree',
];

function queryOf(id: number, name: string, type: string, dnssec: boolean): string {
  const labels = name.split('.').filter((label) => label !== '');
  const bytes = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
  for (const label of labels) bytes.push(label.length, ...Buffer.from(label));
  bytes.push(0, TYPES[type]! >> 8, TYPES[type]! & 255, 0, 1);
  bytes.push(0, 0, 41, 4, 208, 0, 0, dnssec ? 0x80 : 0, 0, 0, 0);
  return Buffer.from(bytes).toString('hex');
}

interface Asked {
  readonly text: string;
  readonly query: string;
}

/** Every name with every type, half of them with DO; and what is special. */
function questions(): Asked[] {
  const list: Asked[] = [];
  const add = (name: string, type: string, dnssec: boolean): void => {
    const query = queryOf(0x1000 + list.length, name, type, dnssec);
    list.push({ text: `${name} ${type}${dnssec ? ' +do' : ''}`, query });
  };
  for (const [i, name] of NAMES.entries()) {
    const whole = name === '@' ? 'zone.test' : `${name}.zone.test`;
    for (const [j, type] of Object.keys(TYPES).entries()) add(whole, type, (i + j) % 2 === 0);
  }
  add('large.zone.test', 'TXT', false);
  for (const type of ['A', 'SOA']) add('www.broken.test', type, false);
  for (const type of ['A', 'DNSKEY', 'SOA', 'NSEC']) add('signed.test', type, true);
  add('missing.signed.test', 'A', true);
  return list;
}

async function answers(
  lab: Lab,
  netns: string,
  server: string,
  list: readonly Asked[],
  tcp: readonly boolean[],
) {
  const input = JSON.stringify(list.map(({ query }, i) => [query, tcp[i]]));
  const out = await lab.check(netns, ['python3', '-c', ASK, server], { input, timeoutMs: 50_000 });
  return JSON.parse(out) as string[];
}

/** Without TTLs, which may have counted down. */
function withoutTtls(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  const skip = (at: number): number => {
    let place = at;
    for (let length = bytes[place]!; length !== 0; length = bytes[place]!) {
      if (length >= 0xc0) return place + 2;
      place += 1 + length;
    }
    return place + 1;
  };
  let at = skip(12) + 4;
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  for (let i = 0; i < records; i++) {
    at = skip(at);
    if (bytes.readUInt16BE(at) !== 41) bytes.fill(0, at + 4, at + 8);
    at += 10 + bytes.readUInt16BE(at + 8);
  }
  return bytes.toString('hex');
}

function addressesOf(hex: string): string[] {
  // Data of A and AAAA records is the only part that is compared: getaddrinfo tells no more.
  const bytes = Buffer.from(hex, 'hex');
  const found: string[] = [];
  for (let at = 12; at + 10 < bytes.length; at++) {
    const [type, length] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 8)];
    const own = (type === 1 && length === 4) || (type === 28 && length === 16);
    if (own && bytes.readUInt16BE(at + 2) === 1)
      found.push(bytes.subarray(at + 10, at + 10 + length).toString('hex'));
  }
  return [...new Set(found)].sort();
}

async function knot(lab: Lab): Promise<Proc> {
  const folder = lab.path('knot');
  mkdirSync(folder);
  const zone = (name: string, more = ''): string =>
    `  - domain: ${name}\n    file: ${folder}/${name}zone\n    semantic-checks: off\n${more}`;
  writeFileSync(`${folder}/zone.test.zone`, ZONE);
  const signed =
    '$ORIGIN signed.test.\n@ 300 SOA ns admin 1 3600 600 86400 120\n@ NS ns\n@ A 198.18.0.2\nns A 198.18.0.1\n';
  writeFileSync(`${folder}/signed.test.zone`, signed);
  const conf = `server:\n    rundir: ${folder}\n    listen: 127.0.0.1@53\ndatabase:\n    storage: ${folder}\n
log:\n  - target: stderr\n    any: info\nzone:\n${zone('zone.test.')}${zone('signed.test.', '    dnssec-signing: on\n')}${zone('broken.test.')}`;
  writeFileSync(`${folder}/knot.conf`, conf);
  const proc = lab.spawn(lab.host, ['knotd', '-c', `${folder}/knot.conf`], { stdin: 'ignore' });
  await proc.waitFor(/\[signed\.test\.\] zone file updated/, 20_000, 'stderr');
  return proc;
}

describe.runIf(ready)('names through the gateway', () => {
  let lab: Lab;
  const args = (): string[] => ['serve', '--tap', 'tap0', '--netns', `/run/netns/${lab.guest}`];

  beforeEach(async () => {
    lab = await Lab.create();
  });

  afterEach(async () => {
    await lab?.destroy();
  });

  it('answers to 284 questions of 23 types are what the server says; by getaddrinfo the addresses are', async () => {
    const server = await knot(lab);
    const list = questions();
    expect(list.length).toBeGreaterThan(200);
    const byUdp = await answers(
      lab,
      lab.host,
      '127.0.0.1',
      list,
      list.map(() => false),
    );
    // What did not fit is asked for by TCP, there and here.
    const tcp = byUdp.map((hex) => (Number.parseInt(hex.slice(4, 6), 16) & 2) !== 0);
    expect(tcp.filter(Boolean).length).toBeGreaterThan(0);
    const direct = await answers(lab, lab.host, '127.0.0.1', list, tcp);
    const rcodes = new Set(direct.map((hex) => Number.parseInt(hex.slice(6, 8), 16) & 15));
    expect([...rcodes].sort()).toEqual([0, 2, 3]);
    expect(Math.max(...direct.map((hex) => hex.length / 2))).toBeGreaterThan(60_000);

    const relaying = await lab.startNetproxy(args());
    await lab.dhcp();
    const relayed = await answers(lab, lab.guest, GATEWAY, list, tcp);
    for (const [i, { text }] of list.entries())
      expect([text, withoutTtls(relayed[i]!)]).toEqual([text, withoutTtls(direct[i]!)]);
    await relaying.stop();

    writeFileSync(`/etc/netns/${lab.host}/nsswitch.conf`, 'passwd: files\nhosts: files nosuchmodule dns\n');
    const asking = await lab.startNetproxy(args());
    await lab.dhcp();
    const names = list.filter(({ text }) => / (A|AAAA)$/.test(text));
    const at = names.map((asked) => list.indexOf(asked));
    const found = await answers(
      lab,
      lab.guest,
      GATEWAY,
      names,
      names.map((_, i) => tcp[at[i]!]!),
    );
    const alone = names.filter(({ text }) => !text.startsWith('out.') && !text.startsWith('www.broken'));
    for (const asked of alone) {
      const i = names.indexOf(asked);
      expect([asked.text, addressesOf(found[i]!)]).toEqual([asked.text, addressesOf(direct[at[i]!]!)]);
    }
    await asking.stop();
    writeFileSync(`/etc/netns/${lab.host}/nsswitch.conf`, 'passwd: files\nhosts: files dns\n');
    await server.kill('SIGKILL');
  }, 60_000);

  it('each name goes to the servers of its domain and to nobody else, also when they are away', async () => {
    const vpn = await lab.namespace('v1');
    const link = (...words: string[]) => lab.check(lab.host, ['ip', ...words]);
    await link('link', 'add', 'vpn0', 'type', 'veth', 'peer', 'name', 'up0', 'netns', vpn);
    await link('addr', 'add', '10.8.0.1/24', 'dev', 'vpn0');
    await link('link', 'set', 'vpn0', 'up');
    await lab.check(vpn, ['ip', 'addr', 'add', '10.8.0.53/24', 'dev', 'up0']);
    await lab.check(vpn, ['ip', 'link', 'set', 'up0', 'up']);
    const server = async (netns: string, address: string): Promise<Proc> => {
      const fixed = [
        '-k',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--bind-interfaces',
        '--user=root',
      ];
      const own = [`--listen-address=${address}`, '--pid-file=', '--log-facility=-', '--log-queries'];
      const proc = lab.spawn(netns, ['dnsmasq', ...fixed, ...own, '--address=/test/198.18.0.77'], {
        stdin: 'ignore',
      });
      await proc.waitFor(/started, version/, 10_000, 'stderr');
      return proc;
    };
    const [all, corp, far] = [
      await server(lab.host, '127.0.0.1'),
      await server(lab.host, '198.18.0.2'),
      await server(vpn, '10.8.0.53'),
    ];
    const file = lab.path('servers');
    const write = (text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    write('nameserver 127.0.0.1\nnameserver 10.8.0.53\nzone vpn.test\n');
    writeFileSync(
      lab.path('config'),
      JSON.stringify({ version: 1, dns: { serversFile: file, deadline: 2000 } }),
    );
    const split = ['--config', lab.path('config'), '--dns-server', 'corp.test=198.18.0.2'];
    const netproxy = await lab.startNetproxy([...args(), ...split]);
    await lab.dhcp();
    const dig = async (name: string): Promise<string> => {
      const out = await lab.check(lab.guest, ['dig', `@${GATEWAY}`, '+tries=1', '+timeout=5', name]);
      return /status: (\w+)/.exec(out)?.[1] ?? out;
    };
    /** The names that each server was asked for since the last look. */
    let seen = [0, 0, 0];
    const asked = (): string[][] => {
      const logs = [all, corp, far].map(({ stderr, stdout }) => stderr + stdout);
      const fresh = logs.map((log, i) => log.slice(seen[i]));
      seen = logs.map((log) => log.length);
      return fresh.map((log) => [
        ...new Set([...log.matchAll(/query\[A\] (\S+)/g)].map((match) => match[1]!)),
      ]);
    };
    expect([await dig('a.corp.test'), await dig('b.vpn.test'), await dig('c.test')]).toEqual([
      'NOERROR',
      'NOERROR',
      'NOERROR',
    ]);
    expect(asked()).toEqual([['c.test'], ['a.corp.test'], ['b.vpn.test']]);

    await link('link', 'set', 'vpn0', 'down');
    expect([await dig('d.vpn.test'), await dig('e.corp.test'), await dig('f.test')]).toEqual([
      'SERVFAIL',
      'NOERROR',
      'NOERROR',
    ]);
    expect(asked()).toEqual([['f.test'], ['e.corp.test'], []]);

    await link('link', 'set', 'vpn0', 'up');
    await until(
      20_000,
      'the server behind the interface',
      async () => (await dig('g.vpn.test')) === 'NOERROR',
    );
    expect(asked()).toEqual([[], [], ['g.vpn.test']]);

    // Another domain for the same server; names that were cached are asked for again.
    write('nameserver 127.0.0.1\nnameserver 10.8.0.53\nzone other.test\n');
    await until(20_000, 'the new file', async () => {
      await dig('h.other.test');
      return asked()[2]!.includes('h.other.test');
    });
    expect(await dig('b.vpn.test')).toBe('NOERROR');
    expect(asked()).toEqual([['b.vpn.test'], [], []]);
    await netproxy.stop();
    for (const proc of [all, corp, far]) await proc.kill('SIGKILL');
  }, 60_000);

  it('built-in names take clients of glibc and musl one round trip', async () => {
    const api = lab.path('api');
    const netproxy = await lab.startNetproxy([...args(), '--services', `unix:${api}`]);
    const lease = await lab.dhcp();
    lab.setResolver(lease['dns'] ?? GATEWAY);
    writeFileSync(
      lab.path('lookup.c'),
      `#include <netdb.h>\n#include <stdio.h>\n#include <arpa/inet.h>\nint main(int c, char **v) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
  int rc = getaddrinfo(v[1], "80", &hints, &list);
  if (rc) { printf("%s\\n", gai_strerror(rc)); return 1; }
  for (; list; list = list->ai_next) {
    char text[64];
    getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
    puts(text);
  }
  return 0;
}\n`,
    );
    await lab.check(lab.host, ['musl-gcc', '-static', '-o', lab.path('lookup'), lab.path('lookup.c')]);
    const counters = async () => {
      const out = await lab.check(lab.host, [
        'curl',
        '-sS',
        '--unix-socket',
        api,
        'http://netproxy/v1/stats',
      ]);
      return (JSON.parse(out) as { dns: { received: { udp: number }; answered: Record<string, number> } })
        .dns;
    };
    const lookups: readonly (readonly [string, readonly string[]])[] = [
      ['musl', [lab.path('lookup'), 'host.docker.internal']],
      ['glibc', ['getent', 'ahosts', 'host.docker.internal']],
      [
        'node',
        [
          process.execPath,
          '-e',
          'require("dns").resolve4("host.docker.internal",(e,a)=>console.log(e||a[0]))',
        ],
      ],
      ['nslookup', ['nslookup', 'host.docker.internal']],
      ['kdig', ['kdig', `@${GATEWAY}`, '+short', 'host.docker.internal']],
    ];
    for (const [client, argv] of lookups) {
      const before = await counters();
      const out = await lab.check(lab.guest, argv);
      const after = await counters();
      expect([client, out.includes('192.168.127.254')]).toEqual([client, true]);
      // One question, or one for each family at once; nothing asked again under another name.
      expect(after.received.udp - before.received.udp, client).toBeLessThanOrEqual(2);
      expect(after.answered['nxDomain'] ?? 0, client).toBe(0);
    }
    await netproxy.stop();
  }, 60_000);
});
