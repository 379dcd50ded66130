import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { Config } from '../config/index.js';
import { FakeTerminal, netproxy } from './cli.testutil.js';
import { Collected } from './collect.js';
import {
  addressFlags,
  configFlag,
  debugFlags,
  linkFlags,
  logFlags,
  natFlags,
  policyFlags,
  processFlags,
  publishFlags,
  sshForwardFlags,
  switchFlags,
} from './flags.js';
import { dockerFlags } from './docker.js';
import { proxyFlags } from './proxy-flags.js';
import { createProgram } from './program.js';

/** The configuration that flags make. */
function settle(...args: string[]): Config {
  const to = new Collected();
  const command = new Command('test').exitOverride().configureOutput({ writeErr: () => undefined });
  linkFlags(command, to);
  addressFlags(command, to, { mtu: '1500', alias: 'on' });
  natFlags(command, to);
  publishFlags(command, to);
  sshForwardFlags(command, to);
  policyFlags(command, to);
  proxyFlags(command, to);
  switchFlags(command, to);
  dockerFlags(command, to);
  debugFlags(command, to);
  processFlags(command, to);
  logFlags(command, to, 'info');
  command.parse(args, { from: 'user' });
  return to.settle();
}

/** The other keys may stand in the file. */
const half = (docker: Partial<NonNullable<Config['docker']>>) => docker as NonNullable<Config['docker']>;

/** Every flag that sets the configuration, with a value and what it sets. */
const FLAGS: readonly [flag: string, value: string | undefined, config: Omit<Config, 'version'>][] = [
  ['--qemu', 'unix:/run/a', { links: [{ kind: 'qemu', address: 'unix:/run/a' }] }],
  ['--vpnkit', 'tcp:127.0.0.1:9', { links: [{ kind: 'vpnkit', address: 'tcp:127.0.0.1:9' }] }],
  ['--listen', '/run/c', { links: [{ kind: 'connect', address: '/run/c' }] }],
  ['--vsock', '3:1024', { links: [{ kind: 'vsock', address: '3:1024' }] }],
  ['--vfkit', 'unix:/run/v', { links: [{ kind: 'vfkit', address: 'unix:/run/v' }] }],
  ['--bess', '/run/b', { links: [{ kind: 'bess', address: '/run/b' }] }],
  ['--tap', 'tap0', { links: [{ kind: 'tap', interface: 'tap0' }] }],
  ['--tap-fd', '5', { links: [{ kind: 'tap-fd', fd: 5 }] }],
  ['--stdio', undefined, { links: [{ kind: 'stdio' }] }],
  ['--services', 'unix:/run/s', { services: 'unix:/run/s' }],
  ['--services-read-only', 'default', { servicesReadOnly: 'default' }],
  ['--guest-api', undefined, { guestApi: true }],
  ['--token-file', '/run/t', { tokenFile: '/run/t' }],
  ['--subnet', '10.0.0.0/24', { subnet: '10.0.0.0/24' }],
  ['--gateway-ip', '10.0.0.1', { gatewayIp: '10.0.0.1' }],
  ['--guest-ip', '10.0.0.2', { guestIp: '10.0.0.2' }],
  ['--host-alias', 'off', { hostAlias: 'off' }],
  ['--mtu', '9000', { mtu: 9000 }],
  ['--mac', '52:54:00:00:00:01', { guestMac: '52:54:00:00:00:01' }],
  ['--ask', 'any@build', { policy: { rules: ['ask any@build'] } }],
  [
    '--redirect',
    'tcp:203.0.113.7:80 to host:8080',
    { policy: { rules: ['redirect tcp:203.0.113.7:80 to host:8080'] } },
  ],
  ['--http-proxy', 'http://u:p@proxy.corp:3128', { httpProxy: { http: ['http://u:p@proxy.corp:3128'] } }],
  ['--https-proxy', 'direct', { httpProxy: { https: ['direct'] } }],
  ['--proxy-exclude', '.corp,10.0.0.0/8', { httpProxy: { noProxy: ['.corp,10.0.0.0/8'] } }],
  ['--proxy-file', '/run/http_proxy.json', { httpProxy: { file: '/run/http_proxy.json' } }],
  ['--proxy-pac', 'http://wpad.corp/p.pac', { httpProxy: { pac: 'http://wpad.corp/p.pac' } }],
  ['--proxy-pac-failure', 'deny', { httpProxy: { pacFailure: 'deny' } }],
  [
    '--proxy-credentials',
    'git credential fill',
    { httpProxy: { credentialsCommand: 'git credential fill' } },
  ],
  ['--no-proxy-system', undefined, { httpProxy: { system: false } }],
  ['--proxy-ca', '/run/ca.pem', { httpProxy: { caFile: '/run/ca.pem' } }],
  ['--proxy-port', '8080', { httpProxy: { port: 8080 } }],
  ['--proxy-transparent', 'on', { httpProxy: { transparent: 'on' } }],
  ['--proxy-http-port', '8080', { httpProxy: { httpPorts: [8080] } }],
  ['--proxy-https-port', '8443', { httpProxy: { httpsPorts: [8443] } }],
  ['--dns-server', '127.0.0.1#5353', { dns: { servers: ['127.0.0.1#5353'] } }],
  ['--dns-cache', '0', { dns: { cacheBytes: 0 } }],
  ['--dns-stale', '3600', { dns: { staleSeconds: 3600 } }],
  [
    '--dns-server',
    'corp.example=10.8.0.1#5353',
    { dns: { domains: [{ names: ['corp.example'], servers: ['10.8.0.1#5353'] }] } },
  ],
  ['--udp-nat', 'symmetric', { udpNat: 'symmetric' }],
  ['--publish', '8080:80', { publish: ['8080:80'] }],
  ['--bind-helper', '/run/b', { bindHelper: '/run/b' }],
  ['--allow', 'tcp:any:443', { policy: { rules: ['allow tcp:any:443'] } }],
  ['--deny', 'host', { policy: { rules: ['deny host'] } }],
  ['--default-policy', 'deny', { policy: { default: 'deny' } }],
  ['--ssh-forward', '/a=root@vm:/b,identity=k', { sshForwards: ['/a=root@vm:/b,identity=k'] }],
  ['--docker-guest-sock', '/run/e', { docker: half({ guestSock: '/run/e' }) }],
  ['--docker-listen', '/run/d', { docker: half({ listen: '/run/d' }) }],
  ['--docker-host-ip', '::1', { docker: half({ hostIp: '::1' }) }],
  ['--docker-guest', 'vm', { docker: half({ guest: 'vm' }) }],
  ['--isolation', undefined, { switch: { isolation: true } }],
  ['--no-anti-spoof', undefined, { switch: { antiSpoof: false } }],
  ['--floods', '50', { switch: { floods: 50 } }],
  ['--rate-up', '1.5mbit', { switch: { rateUp: 1_500_000 } }],
  ['--rate-down', '2000000', { switch: { rateDown: 2_000_000 } }],
  ['--pcap', 'x.pcap', { pcap: 'x.pcap' }],
  ['--faults', 'loss=2%', { faults: 'loss=2%' }],
  ['--state-file', '/var/lib/np/state', { stateFile: '/var/lib/np/state' }],
  ['--pid-file', '/run/p', { pidFile: '/run/p' }],
  ['--ready-fd', '3', { readyFd: 3 }],
  ['--exit-with-parent', undefined, { exitWithParent: true }],
  ['--log-level', 'warn', { log: { level: 'warn' } }],
  ['--log-format', 'json', { log: { format: 'json' } }],
];
/** Tested below by name, and in their own files. */
const ELSEWHERE = [
  '--netns',
  '--fd',
  '--framing',
  '--config',
  '--json',
  '--no-dns',
  '--map-root',
  '--guest',
  '--protocol',
  '--api',
];
/** Commands whose flags have tests of their own. */
const REMOTE = ['--api', '--token-file', '--json'];
const OWN: Readonly<Record<string, readonly string[]>> = {
  docker: [
    ...['--guest-sock', '--listen', '--host-ip', '--guest', '--api', '--token-file'],
    ...['--log-level', '--log-format'],
  ],
  demo: ['--netns', '--vm', '--scripted', '--size', '--kernel', '--initrd', '--json'],
  flows: [...REMOTE, '--tcp', '--kill', '--guest', '--protocol', '--state', '--peer'],
  guests: [...REMOTE, '--detach'],
  leases: REMOTE,
  ports: REMOTE,
  'bind-helper': ['--socket', '--allow-user', '--allow-ports'],
  publish: [...REMOTE, '--no-keep'],
  unpublish: REMOTE,
  events: [...REMOTE, '--follow', '--last', '--types'],
  capture: ['--api', '--token-file', '--write', '--guest'],
  stats: REMOTE,
};

describe('flags', () => {
  it.each(FLAGS)('%s %s', (flag, value, config) => {
    expect(settle(flag, ...(value === undefined ? [] : [value]))).toEqual({ version: 1, ...config });
  });

  it('each flag of each command is in a test', () => {
    const program = createProgram(new FakeTerminal(), () => undefined);
    const tested = new Set([...FLAGS.map(([flag]) => flag), ...ELSEWHERE]);
    for (const command of program.commands) {
      const own = OWN[command.name()];
      const known = own === undefined ? tested : new Set(own);
      expect(command.options.map((option) => option.long).filter((long) => !known.has(long ?? ''))).toEqual(
        [],
      );
    }
  });

  it('says nothing without flags', () => {
    expect(settle()).toEqual({ version: 1 });
  });

  it('keeps the order of links, and takes them repeatedly', () => {
    expect(settle('--qemu', '/a', '--vpnkit', '/b', '--qemu', '/c').links).toEqual([
      { kind: 'qemu', address: '/a' },
      { kind: 'vpnkit', address: '/b' },
      { kind: 'qemu', address: '/c' },
    ]);
  });

  it('keeps --allow and --deny in one list in their order', () => {
    const args = ['--deny', '10.0.0.0/8', '--allow', 'any', '--deny', 'host'];
    expect(settle(...args).policy?.rules).toEqual(['deny 10.0.0.0/8', 'allow any', 'deny host']);
  });

  it('--netns belongs to --tap, --framing to --fd', () => {
    expect(settle('--netns', 'guest', '--tap', 'tap0').links).toEqual([
      { kind: 'tap', interface: 'tap0', netns: 'guest' },
    ]);
    expect(settle('--fd', '3', '--fd', '4', '--framing', 'qemu').links).toEqual([
      { kind: 'fd', fd: 3, framing: 'qemu' },
      { kind: 'fd', fd: 4, framing: 'qemu' },
    ]);
    expect(() => settle('--netns', 'guest')).toThrow('--netns says where --tap opens its interface');
    expect(() => settle('--fd', '3')).toThrow('--fd and --framing belong together');
    expect(() => settle('--framing', 'qemu')).toThrow('--fd and --framing belong together');
  });

  it('-p is --publish', () => {
    expect(settle('-p', '8080:80').publish).toEqual(['8080:80']);
  });

  it.each([
    [['--mtu', '70000'], '--mtu: 70000 is not allowed; allowed: a whole number of bytes, 576 to 65,520'],
    [['--mtu', '1e3'], '--mtu: "1e3" is not allowed; allowed: a whole number of bytes'],
    [['--subnet', '10.0.0.0'], '--subnet: "10.0.0.0" is not allowed; allowed: an IPv4 network of /8 to /29'],
    [['--host-alias', 'yes'], '--host-alias: "yes" is not allowed; allowed: on, off, or an IPv4 address'],
    [['--mac', '01:00:00:00:00:00'], '--mac: "01:00:00:00:00:00" is not allowed; allowed: a unicast MAC'],
    [['--allow', 'tcp:x'], '--allow: bad policy rule "tcp:x": "x" is no IPv4 address, no CIDR'],
    [['--publish', '80'], '--publish: bad port to publish "80"'],
    [['--qemu', 'nowhere'], '--qemu: qemu: "nowhere" is no address'],
    [['--vsock', 'unix:/x'], '--vsock: vsock: "unix:/x" is no address'],
    [['--services', 'fd:3'], '--services: the control API cannot be at "fd:3"; allowed'],
    [
      ['--tap', 'a-name-that-is-too-long'],
      '--tap: "a-name-that-is-too-long" is not allowed; allowed: an interface name',
    ],
    [['--tap-fd', '-1'], '--tap-fd: "-1" is not allowed; allowed: a whole number'],
    [['--faults', 'rain=2%'], '--faults: faults: "rain=2%" is not understood; allowed'],
    [['--framing', 'x', '--fd', '3'], '--framing: "x" is not allowed; allowed: qemu, vpnkit, connect'],
    [['--dns-cache', '-1'], '--dns-cache: "-1" is not allowed'],
    [['--dns-stale', 'x'], '--dns-stale: '],
    [['--dns-server', 'x'], '--dns-server: "x" is not allowed; allowed: a DNS server'],
    [['--dns-server', 'a..b=10.0.0.1'], '--dns-server: "a..b" is not allowed; allowed: a DNS name'],
    [['--default-policy', 'x'], '--default-policy: "x" is not allowed; allowed: allow, deny'],
    [['--log-level', 'x'], '--log-level: "x" is not allowed; allowed: debug, info, warn, error, silent'],
    [['--pcap', ''], '--pcap: "" is not allowed; allowed: a path'],
  ])('%s is refused with what is allowed', (args, expected) => {
    expect(() => settle(...args)).toThrow(expected);
  });
});

describe('--config', () => {
  it('lies under the flags', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'np-cli-'));
    const file = path.join(dir, 'net.yaml');
    writeFileSync(
      file,
      'version: 1\nmtu: 1400\nname: lab\npolicy: {rules: [allow host]}\nlog: {level: debug}\n',
    );
    try {
      expect(settle('--config', file, '--mtu', '9000', '--deny', 'any', '--log-format', 'json')).toEqual({
        version: 1,
        name: 'lab',
        mtu: 9000,
        policy: { rules: ['deny any', 'allow host'] },
        log: { level: 'debug', format: 'json' },
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('is a flag of serve, run and explain', () => {
    const command = new Command();
    configFlag(command, new Collected());
    expect(command.options[0]?.long).toBe('--config');
  });

  it('that is wrong names file, line, key and value, and the exit code is 2', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'np-cli-'));
    const file = path.join(dir, 'net.yaml');
    writeFileSync(file, 'version: 1\nmtu: 1\n');
    try {
      const { code, err } = await netproxy('serve', '--config', file);
      expect(code).toBe(2);
      expect(err).toContain(
        `netproxy: ${file}:2: mtu: 1 is not allowed; allowed: a whole number of bytes, 576 to 65,520.\n`,
      );
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
