import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetproxyError } from '../core/index.js';
import { MAX_CONFIG_SIZE, loadConfig, parseConfig } from './load.js';

const FULL = `
version: 1
name: lab
subnet: 10.9.0.0/16
gatewayIp: 10.9.0.1
gatewayMac: 5a:94:ef:e4:0c:dd
guestIp: 10.9.0.2
guestMac: 52:54:00:00:00:01
hostAlias: off
mtu: 9000
links:
  - { kind: qemu, address: unix:/run/a.sock, guest: { name: build, ip: 10.9.0.9, mac: 52:54:00:00:00:02, mtu: 1400, policy: [deny host], maxFlows: 10 } }
  - { kind: vpnkit, address: /run/b.sock }
  - { kind: connect, address: tcp:127.0.0.1:7777 }
  - { kind: vsock, address: "1024" }
  - { kind: vfkit, address: unix:/run/v.sock }
  - { kind: bess, address: /run/w.sock }
  - { kind: tap, interface: tap0, netns: guest }
  - { kind: tap-fd, fd: 5 }
  - { kind: fd, fd: 3, framing: qemu }
  - { kind: stdio }
services: unix:/run/api.sock
servicesReadOnly: tcp:127.0.0.1:7000
tokenFile: /run/netproxy.token
dhcp: { leaseSeconds: 3600, domain: lab.test, search: [lab.test, b.test], statics: [{ ip: 10.9.0.5, guest: web }] }
dns: { hosts: { files.lab.test: 10.1.2.3 }, deadline: 2000, servers: [127.0.0.1#5353, "::1"] }
policy: { default: deny, rules: ["allow tcp:10.0.0.0/8:80,8000-8100@build", "deny host"] }
publish: ["127.0.0.1:8080:80", "build@5300:53/udp"]
limits: { dialsPerGuest: 10, dialsPerDestination: 5, flowsPerGuest: 100, dialTimeout: 1000, udpPerGuest: 10, udpTotal: 20, udpIdle: 5000, flowBuffer: 131072 }
log: { level: warn, format: json }
pcap: /tmp/x.pcapng
faults: loss=2%,delay=20ms
json: true
pidFile: /run/np.pid
readyFd: 3
exitWithParent: true
`;

const message = (text: string): string => {
  try {
    parseConfig(text, 'net.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(NetproxyError);
    expect((error as NetproxyError).code).toBe('ERR_NETPROXY_CONFIG');
    return (error as Error).message;
  }
  throw new Error('it was accepted');
};

describe('parseConfig', () => {
  it('takes every key, and the same as JSON', () => {
    const config = parseConfig(FULL, 'net.yaml');
    expect(config.links).toHaveLength(10);
    expect(config.policy?.rules).toEqual(['allow tcp:10.0.0.0/8:80,8000-8100@build', 'deny host']);
    expect(parseConfig(JSON.stringify(config), 'net.json')).toEqual(config);
  });

  it.each([
    ['mtu: 70000', 'net.yaml:2: mtu: 70000 is not allowed; allowed: a whole number of bytes, 576 to 65,520'],
    ['mtu: big', 'net.yaml:2: mtu: "big" is not allowed; allowed: a whole number of bytes, 576 to 65,520'],
    [
      'subnet: 10.0.0.1',
      'net.yaml:2: subnet: "10.0.0.1" is not allowed; allowed: an IPv4 network of /8 to /29 such as',
    ],
    [
      'guestIp: 010.0.0.1',
      'net.yaml:2: guestIp: "010.0.0.1" is not allowed; allowed: an IPv4 address such as',
    ],
    [
      'guestMac: ff:ff:ff:ff:ff:ff',
      'guestMac: "ff:ff:ff:ff:ff:ff" is not allowed; allowed: a unicast MAC address',
    ],
    [
      'hostAlias: maybe',
      'hostAlias: "maybe" is not allowed; allowed: on, off, or an IPv4 address of the subnet',
    ],
    ['colour: red', 'net.yaml:2: colour: unknown key; allowed: $schema, version, name, subnet'],
    [
      'log:\n  level: loud',
      'net.yaml:3: log.level: "loud" is not allowed; allowed: debug, info, warn, error, silent',
    ],
    ['log:\n  colour: 1', 'net.yaml:3: log.colour: unknown key; allowed: level, format'],
    [
      'links:\n  - kind: qemu',
      'net.yaml:3: links[0].address: is missing; allowed: an address such as unix:/run/vm.sock',
    ],
    [
      'links:\n  - {kind: qemu, address: nowhere}',
      'links[0].address: qemu: "nowhere" is no address; allowed: unix:/PATH',
    ],
    [
      'links:\n  - {kind: tape}',
      'links[0].kind: "tape" is not allowed; allowed: one of qemu, vpnkit, connect, vsock, vfkit, bess, tap',
    ],
    [
      'links:\n  - {kind: tap, interface: tap0, speed: 1}',
      'links[0].speed: unknown key; allowed: kind, interface, netns, guest',
    ],
    ['links: 5', 'links: 5 is not allowed; allowed: a list'],
    ['publish: ["80"]', 'publish[0]: bad port to publish "80": it does not have that form; allowed is'],
    [
      'policy: {rules: ["permit host"]}',
      'policy.rules[0]: "permit host" does not begin with "allow ", "deny ", "ask " or "redirect "',
    ],
    ['policy: {rules: ["deny 10.0.0.300"]}', 'policy.rules[0]: bad policy rule "10.0.0.300"'],
    ['faults: loss=200%', 'faults: faults: "loss=200%" is not understood; allowed:'],
    ['services: fd:3', 'services: the control API cannot be at "fd:3"; allowed'],
    [
      'dhcp: {statics: [{ip: 10.0.0.1}]}',
      'dhcp.statics[0]: {"ip":"10.0.0.1"} is not allowed; allowed: ip with mac, clientId or both, or with guest',
    ],
    ['limits: {flowBuffer: 100000}', 'limits.flowBuffer: 100000 is not allowed; allowed: a power of two'],
    [
      'dns: {servers: [dns.example]}',
      'dns.servers[0]: "dns.example" is not allowed; allowed: a DNS server as IP or IP#PORT',
    ],
    ['dns: {hosts: {"bad name": 10.0.0.1}}', 'dns.hosts.bad name: '],
  ])('says file, line, key, value and what is allowed: %s', (line, expected) => {
    expect(message(`version: 1\n${line}\n`)).toContain(expected);
  });

  it('wants the version', () => {
    expect(message('mtu: 1500')).toContain('version: is missing; allowed: 1');
    expect(message('version: 2')).toContain('version: 2 is not allowed; allowed: 1');
    expect(message('')).toContain('the configuration: null is not allowed');
    expect(message('[1]')).toContain('the configuration: [1] is not allowed');
  });

  it('names the line of what is neither YAML nor JSON', () => {
    expect(message('version: 1\nmtu: [1')).toMatch(/^net\.yaml:\d: neither YAML nor JSON: /);
    expect(message('version: 1\nmtu: 1\nmtu: 2')).toMatch(/^net\.yaml:3: neither YAML nor JSON: .*unique/);
  });

  it('lists several faults, at most ten', () => {
    expect(message('version: 1\nmtu: 1\nname: "a b"').split('\n')).toHaveLength(2);
    const many = Array.from({ length: 30 }, (_, n) => `key${n}: 1`).join('\n');
    const lines = message(`version: 1\n${many}`).split('\n');
    expect(lines).toHaveLength(11);
    expect(lines.at(-1)).toBe('net.yaml: and 20 more');
  });

  it('is not blown up by aliases', () => {
    const bomb = ['version: 1', 'a: &a [1,1,1,1,1,1,1,1,1,1]'];
    for (const [to, from] of ['ba', 'cb', 'dc', 'ed', 'fe'])
      bomb.push(`${to!}: &${to!} [${Array(10).fill(`*${from!}`).join(',')}]`);
    expect(message(bomb.join('\n'))).toContain('net.yaml: neither YAML nor JSON: ');
  });

  it('takes any text or says why not', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json().map((json) => `{"version": 1, "links": ${json}, "policy": ${json}}`),
        ),
        (text) => {
          try {
            parseConfig(text, 'net.yaml');
          } catch (error) {
            if (!(error instanceof NetproxyError)) throw error;
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('loadConfig', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'np-config-'));
  });
  afterAll(() => {
    rmSync(dir, { recursive: true });
  });

  it('reads a file', () => {
    const file = path.join(dir, 'a.yaml');
    writeFileSync(file, 'version: 1\nmtu: 1400\n');
    expect(loadConfig(file)).toEqual({ version: 1, mtu: 1400 });
  });

  it('says why a file cannot be read', () => {
    expect(() => loadConfig(path.join(dir, 'none'))).toThrow(
      /cannot read the configuration .*none: it does not exist/,
    );
    expect(() => loadConfig(dir)).toThrow(/cannot read the configuration .*: it is a directory/);
    const file = path.join(dir, 'long');
    writeFileSync(file, ' '.repeat(MAX_CONFIG_SIZE + 1));
    expect(() => loadConfig(file)).toThrow(/is longer than/);
    writeFileSync(file, `version: 1${' '.repeat(MAX_CONFIG_SIZE - 10)}`);
    expect(loadConfig(file)).toEqual({ version: 1 });
  });
});
