/** The gvproxy drop-in as its users start it: its command line, a kernel as the guest on each kind of stream, curl as the client. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { PROJECT } from '../support/requirements.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { scenarioReady } from './scenario.js';

const ready = scenarioReady('the gvproxy drop-in', 'curl', 'dig', 'ssh', 'socat');
const SHIM = join(dirname(fileURLToPath(import.meta.url)), 'shim.mjs');
const PACKET_SHIM = join(dirname(fileURLToPath(import.meta.url)), 'packet-shim.py');
const SSH_SERVER = join(dirname(fileURLToPath(import.meta.url)), 'ssh-server.py');
const GVPROXY = join(PROJECT, 'dist/cli/gvproxy.js');
const MAC = '5a:94:ef:e4:0c:ee';
const GUEST = '192.168.127.2';

describe.runIf(ready)('gvproxy', () => {
  let lab: Lab;
  let notes: Server | undefined;
  let lines: string[];

  beforeEach(async () => {
    lab = await Lab.create();
    lines = [];
    notes = createServer((socket) => {
      let text = '';
      socket.on('data', (bytes) => (text += String(bytes))).on('end', () => lines.push(text.trim()));
    });
    await new Promise<void>((resolve) => notes?.listen(lab.path('notes'), resolve));
  });

  afterEach(async () => {
    notes?.close();
    await lab?.destroy();
  });

  const unix = (name: string): string => `unix://${lab.path(name)}`;

  /** Starts it; it is ready when it has notified that. */
  async function start(...argv: string[]): Promise<Proc> {
    const all = [
      process.execPath,
      GVPROXY,
      '-services',
      unix('api'),
      '-notification',
      unix('notes'),
      ...argv,
    ];
    const proc = lab.spawn(lab.host, all, { env: { NETPROXY_NO_VSOCK: '1' }, label: 'gvproxy' });
    await until(30_000, `ready: ${proc.describe()}`, () => {
      if (proc.ended !== undefined) throw new Error(proc.describe());
      return lines.some((line) => line.includes('"ready"'));
    });
    return proc;
  }

  /** A kernel as the guest, with a lease. */
  async function attach(framing: 'qemu' | 'connect' | 'vpnkit', name: string, uuid?: string): Promise<void> {
    const tap = { tap: 'tap0', netns: `/run/netns/${lab.guest}` };
    const request = { ...tap, framing, stream: { connect: lab.path(name) }, uuid };
    const argv = [process.execPath, SHIM, JSON.stringify(request)];
    const shim = lab.spawn(lab.host, argv, { stdin: 'ignore', label: 'shim' });
    await shim.waitFor(/"attached"/, 20_000);
    await lab.check(lab.guest, ['ip', 'link', 'set', 'tap0', 'address', MAC]);
    expect((await lab.dhcp())['ip']).toBe(GUEST);
  }

  const curl = (...args: string[]): Promise<string> =>
    lab.check(lab.host, ['curl', '-sS', '-m', '30', ...args]);

  /** The answer and its status. */
  const api = (what: string, body?: object): Promise<string> =>
    curl(
      ...['--unix-socket', lab.path('api'), '-w', ' %{http_code}', `http://gvproxy${what}`],
      ...(body === undefined ? [] : ['-d', JSON.stringify(body)]),
    );

  const web = () => lab.serve({ web: { kind: 'http', address: '0.0.0.0', port: 80 } }, lab.guest);

  it('-listen-qemu: lease, names, exposed ports, the forward of ssh, files, the end', async () => {
    const gvproxy = await start(
      ...[`--listen-qemu=${unix('vm')}`, '-mtu', '1400', '-ssh-port', '2233'],
      ...['-pid-file', lab.path('pid'), '-log-file', lab.path('log')],
    );
    expect(readFileSync(lab.path('pid'), 'utf8')).toBe(String(gvproxy.pid));
    await attach('qemu', 'vm');
    expect(await lab.check(lab.guest, ['cat', '/sys/class/net/tap0/mtu'])).toBe('1400\n');
    expect(await api('/leases')).toBe(`{"${GUEST}":"${MAC}"}\n 200`);
    for (const name of ['gateway.containers.internal', 'host.docker.internal'])
      expect(await lab.check(lab.guest, ['dig', '+short', name, '@192.168.127.1'])).toMatch(
        /^192\.168\.127\./,
      );

    await web();
    await lab.serve({ ssh: { kind: 'http', address: '0.0.0.0', port: 22 } }, lab.guest);
    expect(await curl('http://127.0.0.1:2233/')).toContain('hello');
    const ports = { local: ':8080', remote: `${GUEST}:80` };
    expect(await api('/services/forwarder/expose', ports)).toBe(' 200');
    for (const host of ['198.18.0.1', '127.0.0.1', '[::1]'])
      expect(await curl('-g', `http://${host}:8080/`)).toContain('hello');
    expect(await api('/services/forwarder/expose', ports)).toBe(
      'proxy already running for tcp on :8080\n 500',
    );
    expect(await api('/services/forwarder/expose', { ...ports, local: '198.18.0.1:8080' })).toMatch(
      /^listen tcp 198\.18\.0\.1:8080: bind: address already in use \(.+, pid \d+\)\n 500$/,
    );
    const socket = { local: lab.path('web'), remote: `tcp://${GUEST}:80`, protocol: 'unix' };
    expect(await api('/services/forwarder/expose', socket)).toBe(' 200');
    expect(await curl('--unix-socket', lab.path('web'), 'http://guest/')).toContain('hello');

    // The guest publishes a port of its own, and nothing that is not its own.
    const guest = (body: object): Promise<string> =>
      lab.check(lab.guest, [
        ...['curl', '-sS', '-m', '30', '-w', ' %{http_code}', '-d', JSON.stringify(body)],
        'http://192.168.127.1/services/forwarder/expose',
      ]);
    expect(await guest({ local: '127.0.0.1:8081', remote: ':80' })).toBe(' 200');
    expect(await curl('http://127.0.0.1:8081/')).toContain('hello');
    expect(await guest({ local: lab.path('evil'), remote: `tcp://${GUEST}:80`, protocol: 'unix' })).toMatch(
      / 403$/,
    );
    expect(existsSync(lab.path('evil'))).toBe(false);

    await until(10_000, 'notification', () => lines.length >= 2);
    expect(lines[1]).toMatch(
      /^\{"notification_type":"connection_established","mac_address":"[0-9a-f:]{17}"\}$/,
    );
    expect(await gvproxy.kill('SIGTERM')).toMatchObject({ code: 0 });
    expect(['vm', 'api', 'pid', 'web'].filter((name) => existsSync(lab.path(name)))).toEqual([]);
    expect(readFileSync(lab.path('log'), 'utf8')).toContain('ready: network 192.168.127.0/24');
  });

  /** An ssh server in the guest, which knows one key. */
  async function startSsh(): Promise<Proc> {
    const argv = ['/usr/bin/python3', SSH_SERVER, lab.path('host'), lab.path('id.pub')];
    const ssh = lab.spawn(lab.guest, argv, { label: 'ssh server' });
    await ssh.waitFor(/listening/, 30_000);
    return ssh;
  }

  it('-forward-sock leads to a socket of the guest by ssh, also when ssh came back', async () => {
    const key = lab.path('id');
    for (const file of [key, lab.path('host')])
      await lab.check(lab.host, ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', file]);
    const [inside, outside] = [lab.path('inside'), lab.path('outside')];
    const forward = ['-forward-sock', outside, '-forward-dest', inside, '-forward-user', 'root'];
    await start(`--listen-qemu=${unix('vm')}`, ...forward, '-forward-identity', key);
    expect(statSync(outside).mode & 0o777).toBe(0o600);
    await attach('qemu', 'vm');
    lab.spawn(lab.guest, ['socat', `UNIX-LISTEN:${inside},fork`, 'EXEC:cat']);
    await until(10_000, 'socket', () => existsSync(inside));
    const ask = (word: string): Promise<string> => {
      const pipe = `echo ${word} | socat -t 60 - UNIX-CONNECT:${outside}`;
      return lab.check(lab.host, ['sh', '-c', pipe], { timeoutMs: 90_000 });
    };
    // The first client is there before the guest's ssh is.
    const first = ask('one');
    const ssh = await startSsh();
    expect(await first).toBe('one\n');
    expect(await Promise.all(['two', 'three'].map(ask))).toEqual(['two\n', 'three\n']);
    await ssh.kill('SIGKILL');
    await until(
      10_000,
      'end of ssh',
      async () => !(await lab.check(lab.guest, ['ss', '-Hltn', 'sport', '= 22'])).includes(':22'),
    );
    await startSsh();
    expect(await ask('four')).toBe('four\n');
  });

  it('-listen takes guests by /connect, and has the API for everybody else', async () => {
    await start('-listen', unix('net'), '-ssh-port', '-1');
    await attach('connect', 'net');
    await web();
    const expose = JSON.stringify({ local: '127.0.0.1:8080', remote: `${GUEST}:80` });
    const where = ['--unix-socket', lab.path('net'), 'http://d/services/forwarder/expose'];
    expect(await curl('-d', expose, '-w', '%{http_code}', ...where)).toBe('200');
    expect(await curl('http://127.0.0.1:8080/')).toContain('hello');
  });

  it('-listen-vpnkit takes guests, and -listen-vfkit beside it is a socket of datagrams', async () => {
    await start('-listen-vpnkit', unix('vpnkit'), '-listen-vfkit', `unixgram://${lab.path('vfkit')}`);
    expect(statSync(lab.path('vfkit')).isSocket()).toBe(true);
    await attach('vpnkit', 'vpnkit', 'c3d68012-0208-11ea-9fd7-f2189899ab08');
    await web();
    expect(await api('/services/forwarder/expose', { local: '127.0.0.1:8080', remote: `${GUEST}:80` })).toBe(
      ' 200',
    );
    expect(await curl('http://127.0.0.1:8080/')).toContain('hello');
  });

  it.each([
    ['vfkit', 'unixgram'],
    ['bess', 'unixpacket'],
  ] as const)('-listen-%s takes a kernel as its guest, whose frames are packets', async (kind, scheme) => {
    await start(`-listen-${kind}`, `${scheme}://${lab.path('packets')}`);
    const argv = ['python3', PACKET_SHIM, kind, 'tap0', lab.path('packets'), lab.path('own')];
    const shim = lab.spawn(lab.guest, argv, { stdin: 'ignore', label: 'packet shim' });
    await shim.waitFor(/attached/, 20_000);
    await lab.check(lab.guest, ['ip', 'link', 'set', 'tap0', 'address', MAC]);
    expect((await lab.dhcp())['ip']).toBe(GUEST);
    await web();
    expect(await api('/services/forwarder/expose', { local: '127.0.0.1:8080', remote: `${GUEST}:80` })).toBe(
      ' 200',
    );
    // More than one packet takes, both ways.
    const sum = 'curl -sS -m 30 http://127.0.0.1:8080/300K | sha256sum';
    expect((await lab.check(lab.host, ['sh', '-c', sum])).slice(0, 64)).toBe(digestOf(300 * 1024));
    expect(await api('/leases')).toBe(`{"${GUEST}":"${MAC}"}\n 200`);
  });
});
