import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gvproxyDropIn } from './drop-in.js';
import { parseGvproxy } from './flags.js';
import type { GvproxySettings } from './settings.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'np-gvproxy-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function settingsOf(...argv: string[]): GvproxySettings {
  const command = parseGvproxy(argv);
  if (command.kind !== 'run') throw new TypeError(command.kind);
  return command.settings;
}

function file(text: string): string {
  const name = path.join(folder, 'gvproxy.yaml');
  writeFileSync(name, text);
  return name;
}

describe('without flags', () => {
  it("gvproxy's addresses hold", () => {
    expect(settingsOf()).toMatchObject({
      subnet: '192.168.127.0/24',
      gatewayIp: '192.168.127.1',
      hostAlias: '192.168.127.254',
      mtu: undefined,
      listen: [],
      stdio: false,
      forwards: [['127.0.0.1:2222', '192.168.127.2:22']],
      staticLeases: [['192.168.127.2', '5a:94:ef:e4:0c:ee']],
      vpnkitMacs: { 'c3d68012-0208-11ea-9fd7-f2189899ab08': '5a:94:ef:e4:0c:ee' },
      logLevel: 'info',
      guestApi: true,
      metadata: false,
    });
    expect(settingsOf().zones.map(({ Name }) => Name)).toEqual(['containers.internal.', 'docker.internal.']);
    expect(gvproxyDropIn(settingsOf()).config).toMatchObject({
      dhcp: { statics: [{ ip: '192.168.127.2', mac: '5a:94:ef:e4:0c:ee' }] },
      links: [],
    });
  });
});

describe('flags', () => {
  it.each([
    [['-mtu', '4000'], { mtu: 4000 }],
    [['-ssh-port=-1'], { forwards: [] }],
    [['--ssh-port', '2200'], { forwards: [['127.0.0.1:2200', '192.168.127.2:22']] }],
    [['-debug'], { logLevel: 'debug' }],
    [['-debug=false'], { logLevel: 'info' }],
    [
      ['-listen', 'unix:///a', '-listen', 'tcp://127.0.0.1:1'],
      { listen: ['unix:///a', 'tcp://127.0.0.1:1'] },
    ],
    [['-listen-stdio', 'accept'], { stdio: true }],
    [['-notification', 'unix:///run/n.sock'], { notification: '/run/n.sock' }],
    [['-pid-file', '/run/p', '-log-file=/run/l'], { pidFile: '/run/p', logFile: '/run/l' }],
    [['-guest-api=false', '-ec2-metadata-access'], { guestApi: false, metadata: true }],
  ])('%j', (argv, settings) => expect(settingsOf(...argv)).toMatchObject(settings));

  it.each([
    [['-listen', 'unix:///c'], [{ kind: 'connect', address: 'unix:///c' }]],
    [['-listen', 'vsock://:1024'], [{ kind: 'connect', address: 'vsock://:1024' }]],
    [['-listen-qemu', 'tcp://127.0.0.1:5'], [{ kind: 'qemu', address: 'tcp://127.0.0.1:5' }]],
    [['-listen-vpnkit', 'unix:///v'], [{ kind: 'vpnkit', address: 'unix:///v' }]],
    [['-listen-bess', 'unixpacket:///b'], [{ kind: 'bess', address: 'unix:///b' }]],
    [['-listen-vfkit', 'unixgram:///f'], [{ kind: 'vfkit', address: 'unix:///f' }]],
    [['-listen-stdio', 'x'], [{ kind: 'stdio' }]],
  ])('%j is a link', (argv, links) => {
    expect(gvproxyDropIn(settingsOf(...argv)).config.links).toEqual(links);
  });

  it.each([
    [['-listen-bess', 'unix:///b'], /bess listen address must be unixpacket:\/\/ address/],
    [['-listen-vfkit', 'unix:///b'], /vfkit listen address must be unixgram:\/\/ address/],
    [['-notification', '/n'], /notification listen address must be unix:\/\/ address/],
    [['-ssh-port', '22'], /ssh-port value must be between 1024 and 65535/],
    [['-listen-qemu', 'unix:///q', '-listen-vpnkit', 'unix:///v'], /cannot use qemu and vpnkit protocol/],
    [['-listen-bess', 'unixpacket:///q', '-listen-vpnkit', 'unix:///v'], /cannot use bess and vpnkit/],
    [['-listen-bess', 'unixpacket:///q', '-listen-qemu', 'unix:///v'], /cannot use qemu and bess/],
    [['-config', '/nowhere/x.yaml'], /it does not exist/],
    [['-forward-sock', '/a'], /-forward-sock, --forward-dest, .* must all be specified together/],
  ])('%j is refused', (argv, message) => {
    expect(() => settingsOf(...argv)).toThrow(message);
  });

  it.each([
    [['-mtu', '100'], /-mtu/],
    [['-listen-qemu', 'nonsense'], /"nonsense" is no address/],
  ])('%j is refused by the network', (argv, message) => {
    expect(() => gvproxyDropIn(settingsOf(...argv))).toThrow(message);
  });

  it('for help and version do nothing else', () => {
    expect([parseGvproxy(['-h']).kind, parseGvproxy(['--version']).kind]).toEqual(['help', 'version']);
  });
});

describe('the file', () => {
  it('says the same, and flags go over it', () => {
    const name = file(`
listen: [unix:///run/a.sock]
log-level: warning
services: unix:///run/s.sock
pid-file: /run/p
notification: /run/n.sock
interfaces: { qemu: unix:///run/q.sock }
stack:
  mtu: 1400
  subnet: 10.9.0.0/24
  gatewayIP: 10.9.0.254
  gatewayMacAddress: 02:00:00:00:00:01
  dnsSearchDomains: [corp.example]
  nat: { 10.9.0.9: 127.0.0.1 }
  gatewayVirtualIPs: [10.9.0.9]
  forwards: { '127.0.0.1:8080': '10.9.0.5:80', 'udp:127.0.0.1:53': '10.9.0.5:53' }
  dhcpStaticLeases: { 10.9.0.5: 02:00:00:00:00:05 }
  vpnKitUUIDMacAddresses: {}
  blockAllOutbound: true
  dns:
    - { name: apps.example., records: [{ name: www, ip: 10.9.0.5 }, { regexp: '^a.*', ip: 10.9.0.6 }], defaultIP: 10.9.0.7 }
`);
    expect(settingsOf('-config', name, '-mtu', '1300', '-ssh-port', '2200')).toMatchObject({
      warnings: [expect.stringContaining('-ssh-port is unavailable') as string],
      listen: ['unix:///run/a.sock'],
      logLevel: 'warn',
      services: 'unix:///run/s.sock',
      notification: '/run/n.sock',
      qemu: 'unix:///run/q.sock',
      mtu: 1300,
      subnet: '10.9.0.0/24',
      gatewayIp: '10.9.0.254',
      hostAlias: '10.9.0.9',
      search: ['corp.example'],
      forwards: [
        ['127.0.0.1:8080', '10.9.0.5:80'],
        ['udp:127.0.0.1:53', '10.9.0.5:53'],
      ],
      zones: [
        {
          Name: 'apps.example.',
          Records: [
            { Name: 'www', IP: '10.9.0.5' },
            { Name: '', IP: '10.9.0.6', Regexp: '^a.*' },
          ],
          DefaultIP: '10.9.0.7',
        },
      ],
    });
    expect(gvproxyDropIn(settingsOf('-config', name)).config).toMatchObject({
      policy: { default: 'deny' },
      dhcp: { search: ['corp.example'] },
    });
  });

  it.each([
    ['stack: { subnet: fish }', /gvproxy\.yaml:1: stack\.subnet: "fish" is not allowed/],
    ['nix: 1', /nix: unknown key/],
    ['stack: { nat: { 192.168.127.254: 10.0.0.1 } }', /stack\.nat/],
    ['stack: { gatewayVirtualIPs: [192.168.127.77] }', /stack\.gatewayVirtualIPs/],
    ['stack: [', /neither YAML nor JSON/],
  ])('%s is refused', (text, message) => {
    expect(() => settingsOf('-config', file(text))).toThrow(message);
  });
});
