/** The built command line as a process: what supervisors and people see. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Netproxy } from '../netns/netproxy.js';
import { until, within } from '../support/deadline.js';
import { type ExecResult, Proc, exec } from '../support/process.js';
import { CLI, requireAddon, requireBuild, requirements } from '../support/requirements.js';

const ready = requirements('command line', requireBuild());
const env = { NETPROXY_NO_VSOCK: '1' };
const GATEWAY = [192, 168, 127, 1];

interface Ready {
  readonly ready: true;
  readonly pid: number;
  readonly addresses: Record<string, unknown>;
  readonly ports: { readonly port: number; readonly guestPort: number }[];
  readonly listeners: { readonly kind: string; readonly address: string }[];
  readonly services?: string;
}

/** ARP of guest n: who has the gateway? */
function arpRequest(n: number): Buffer {
  const mac = [0x52, 0x54, 0, 0, 0, n];
  const frame = [
    ...Array<number>(6).fill(0xff),
    ...mac,
    8,
    6,
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    1,
    ...mac,
    192,
    168,
    127,
    1 + n,
  ];
  return Buffer.from([...frame, 0, 0, 0, 0, 0, 0, ...GATEWAY]);
}

/** Asks for the gateway's MAC over a qemu stream as guest n; resolves with it. */
function gatewayMac(stream: Pick<Socket, 'on' | 'write'>, n = 1): Promise<string> {
  const answer = new Promise<string>((resolve) => {
    let seen = Buffer.alloc(0);
    stream.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      while (seen.length >= 4 && seen.length >= 4 + seen.readUInt32BE(0)) {
        const frame = seen.subarray(4, 4 + seen.readUInt32BE(0));
        seen = seen.subarray(4 + frame.length);
        // Other guests' requests are flooded to this one too.
        if (frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 2)
          resolve(frame.toString('hex', 22, 28));
      }
    });
  });
  const frame = arpRequest(n);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  stream.write(Buffer.concat([length, frame]));
  return within(5_000, 'ARP answer', answer);
}

const MAC = '5a94efe40cdd';

describe.runIf(ready)('netproxy', () => {
  let dir: string;
  const running: Netproxy[] = [];

  const cli = (...args: string[]): Promise<ExecResult> => exec([process.execPath, CLI, ...args], { env });
  const at = (name: string): string => join(dir, name);
  async function start(...args: string[]): Promise<{ netproxy: Netproxy; state: Ready }> {
    const netproxy = await Netproxy.start(['serve', '--subnet', '192.168.127.0/24', ...args]);
    running.push(netproxy);
    return { netproxy, state: JSON.parse(netproxy.ready) as Ready };
  }

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'np-cli-'));
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.proc.kill('SIGKILL');
  });
  afterAll(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  it('prints help and version', async () => {
    const { version } = JSON.parse(readFileSync(join(CLI, '../../../package.json'), 'utf8')) as {
      version: string;
    };
    expect(await cli('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    const help = await cli('--help');
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('Usage: netproxy');
  });

  it('refuses what it does not know, with exit code 2 and a remedy', async () => {
    expect(await cli('--bogus')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining("netproxy: unknown option '--bogus'.\n"),
    });
    expect(await cli('bogus')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no command "bogus"'),
    });
    expect(await cli()).toMatchObject({ code: 2, stderr: expect.stringContaining('no guest could attach') });
  });

  it('names file, line, key, value and what is allowed', async () => {
    writeFileSync(at('bad.yaml'), 'version: 1\nlinks:\n  - kind: qemu\n    address: 7\n');
    const { code, stderr } = await cli('--config', at('bad.yaml'));
    expect(code).toBe(2);
    expect(stderr).toContain(
      `${at('bad.yaml')}:4: links[0].address: 7 is not allowed; allowed: an address such as unix:/run/vm.sock`,
    );
  });

  it('says when it is ready, with everything that was chosen', async () => {
    const { netproxy, state } = await start(
      '--qemu',
      at('a.sock'),
      '--listen',
      'tcp:127.0.0.1:0',
      '--services',
      at('s.sock'),
      '--publish',
      '127.0.0.1:0:80',
    );
    expect(netproxy.ready.endsWith('}\n')).toBe(true);
    expect(state).toMatchObject({
      ready: true,
      pid: netproxy.pid,
      addresses: {
        subnet: '192.168.127.0/24',
        gateway: '192.168.127.1',
        guest: '192.168.127.2',
        hostAlias: '192.168.127.254',
        mtu: 1500,
      },
      services: `unix:${at('s.sock')}`,
    });
    expect(state.ports[0]).toMatchObject({ guestPort: 80, port: expect.any(Number) });
    expect(state.listeners.map(({ kind }) => kind)).toEqual(['qemu', 'connect']);
    expect(state.listeners[1]?.address).toMatch(/^tcp:127\.0\.0\.1:[1-9]\d*$/);
  });

  it('takes a configuration file, and flags win', async () => {
    writeFileSync(
      at('good.yaml'),
      `version: 1\nmtu: 1400\nhostAlias: off\nlinks: [{kind: qemu, address: "${at('f.sock')}"}]\n`,
    );
    const { state } = await start('--config', at('good.yaml'), '--mtu', '1300');
    expect(state.addresses).toMatchObject({ mtu: 1300 });
    expect(state.addresses['hostAlias']).toBeUndefined();
    expect(existsSync(at('f.sock'))).toBe(true);
  });

  it('serves many guests, and ends within a second with one attached', async () => {
    const { netproxy } = await start('--qemu', at('b.sock'), '--pid-file', at('b.pid'));
    expect(readFileSync(at('b.pid'), 'utf8')).toBe(`${netproxy.pid}\n`);
    const guests = [connect(at('b.sock')), connect(at('b.sock'))];
    expect(await Promise.all(guests.map((guest, n) => gatewayMac(guest, n + 1)))).toEqual([MAC, MAC]);
    const { code, ms } = await netproxy.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(1_000);
    expect([existsSync(at('b.sock')), existsSync(at('b.pid'))]).toEqual([false, false]);
    for (const guest of guests) guest.destroy();
  });

  it.each(['SIGINT', 'SIGHUP'] as const)('ends by %s too', async (signal) => {
    const { netproxy } = await start('--qemu', at('h.sock'));
    expect(await netproxy.stop(signal)).toMatchObject({ code: 0 });
  });

  it('takes over the socket of a process that died', async () => {
    const { netproxy } = await start('--qemu', at('c.sock'));
    await netproxy.proc.kill('SIGKILL');
    expect(existsSync(at('c.sock'))).toBe(true);
    await start('--qemu', at('c.sock'));
    const guest = connect(at('c.sock'));
    expect(await gatewayMac(guest)).toBe(MAC);
    guest.destroy();
  });

  it('names who holds a socket path, and who holds a port', async () => {
    const { netproxy, state } = await start('--qemu', at('d.sock'), '--publish', '127.0.0.1:0:80');
    const taken = await cli('serve', '--qemu', at('d.sock'));
    expect(taken.code).toBe(3);
    expect(taken.stderr).toContain(
      `cannot listen on unix:${at('d.sock')}: a live process listens there (netproxy serve, pid ${netproxy.pid}).\n`,
    );
    const port = state.ports[0]?.port ?? 0;
    const conflict = await cli('serve', '--qemu', at('d2.sock'), '--publish', `127.0.0.1:${port}:80`);
    expect(conflict.code).toBe(3);
    expect(conflict.stderr).toContain(
      `netproxy: cannot publish tcp 127.0.0.1:${port}: address already in use (netproxy serve, pid ${netproxy.pid}).\nStop that program, or publish another host port.\n`,
    );
    expect(existsSync(at('d2.sock'))).toBe(false);
  });

  it('names a holder that is somebody else', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await cli('serve', '--qemu', at('e.sock'), '--publish', `127.0.0.1:${port}:80`);
    server.close();
    expect(code).toBe(3);
    expect(stderr).toMatch(new RegExp(`address already in use \\(.+, pid ${process.pid}\\)\\.`));
  });

  it('tells events as JSON lines, and logs as JSON on standard error', async () => {
    const { netproxy } = await start(
      '--qemu',
      at('g.sock'),
      '--json',
      '--log-format',
      'json',
      '--log-level',
      'debug',
    );
    const guest = connect(at('g.sock'));
    await gatewayMac(guest);
    guest.destroy();
    await netproxy.proc.waitFor(/"detached"/);
    await netproxy.stop();
    const events = netproxy.proc.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
    expect(events.map(({ event }) => event)).toEqual(['started', 'attached', 'detached', 'stopped']);
    for (const line of netproxy.proc.stderr.trim().split('\n'))
      expect(JSON.parse(line)).toHaveProperty('level');
  });

  it('answers on its control socket', async () => {
    await start('--qemu', at('i.sock'), '--services', at('i.api'));
    const health = await new Promise<string>((resolve, reject) => {
      const sent = request({ socketPath: at('i.api'), path: '/v1/health', agent: false }, (response) => {
        response.setEncoding('utf8').once('data', resolve);
      });
      sent.once('error', reject).end();
    });
    expect(JSON.parse(health)).toMatchObject({ status: 'ok' });
  });

  it('ends with its parent', async () => {
    const script = `node ${JSON.stringify(CLI)} serve --qemu ${at('j.sock')} --exit-with-parent --log-level warn & echo $!; exec sleep 60`;
    const parent = new Proc(['sh', '-c', script.replace('node', process.execPath)], { env });
    const [pid] = await parent.waitFor(/^\d+$/m);
    await until(10_000, 'socket', () => existsSync(at('j.sock')));
    await parent.kill('SIGKILL');
    await until(5_000, 'end of netproxy', () => !existsSync(`/proc/${pid}`));
    expect(existsSync(at('j.sock'))).toBe(false);
  });

  it('serves a socket that the parent connected, and ends with it', async () => {
    const netproxy = await Netproxy.start(
      ['serve', '--fd', '4', '--framing', 'qemu', '--subnet', '192.168.127.0/24'],
      { extra: ['pipe'] },
    );
    running.push(netproxy);
    const guest = netproxy.proc.pipe(4) as unknown as Socket;
    expect(await gatewayMac(guest)).toBe(MAC);
    guest.destroy();
    expect(await netproxy.proc.waitExit()).toMatchObject({ code: 0 });
    expect(netproxy.proc.stderr).toContain('the last guest left');
  });

  it('serves standard input and output', async () => {
    const netproxy = await Netproxy.start(['serve', '--stdio', '--subnet', '192.168.127.0/24']);
    running.push(netproxy);
    netproxy.proc.child.stdout?.setEncoding('latin1');
    const frame = arpRequest(1);
    const length = Buffer.alloc(2);
    length.writeUInt16LE(frame.length);
    netproxy.proc.write(Buffer.concat([length, frame]));
    await until(5_000, 'ARP answer', () => netproxy.proc.stdout.length >= 2 + 42);
    expect(Buffer.from(netproxy.proc.stdout, 'latin1').toString('hex', 2 + 22, 2 + 28)).toBe(MAC);
    netproxy.proc.end();
    expect(await netproxy.proc.waitExit()).toMatchObject({ code: 0 });
  });

  it('writes a capture, through a bad cable', async () => {
    const { netproxy } = await start('--qemu', at('k.sock'), '--pcap', at('k.pcap'), '--faults', 'delay=5ms');
    const guest = connect(at('k.sock'));
    await gatewayMac(guest);
    guest.destroy();
    await netproxy.stop();
    const capture = readFileSync(at('k.pcap'));
    expect(['a1b2c3d4', 'd4c3b2a1', 'a1b23c4d', '4d3cb2a1']).toContain(capture.toString('hex', 0, 4));
    expect(capture.length).toBeGreaterThanOrEqual(24 + 2 * (16 + 42));
  });

  it('says which descriptor, namespace or file it cannot use', async () => {
    const qemu = ['--qemu', at('l.sock')];
    expect(await cli(...qemu, '--ready-fd', '99')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('descriptor 99'),
    });
    expect(await cli('--netns', 'no-such', '--tap', 'tap0')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('no-such: it does not exist'),
    });
    expect(await cli(...qemu, '--pid-file', at('none/x'))).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('pid file'),
    });
    expect(await cli(...qemu, '--pcap', at('none/x'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('capture'),
    });
    expect(await cli('--qemu', at('none/x'))).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('its directory does not exist'),
    });
    expect(await cli('--fd', '98', '--framing', 'qemu')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('descriptor 98 is not open'),
    });
    expect(existsSync(at('l.sock'))).toBe(false);
  });

  it('does without the addon, and says what needs it', async () => {
    const without = (...args: string[]): Promise<ExecResult> =>
      exec([process.execPath, CLI, ...args], { env: { ...env, NETPROXY_NO_ADDON: '1' } });
    for (const args of [
      ['serve', '--tap', 'tap0'],
      ['serve', '--tap-fd', '0'],
      ['serve', '--vsock', '1024'],
      ['run', 'true'],
    ]) {
      expect(await without(...args)).toMatchObject({ code: 4, stderr: expect.stringContaining('addon') });
    }
    expect((await without('doctor', '--json')).stdout).toContain('NETPROXY_NO_ADDON=1');
  });

  it.runIf(requirements('vsock that may not be opened', requireAddon()))(
    'opens no vsock where that is forbidden',
    async () => {
      const { code, stderr } = await cli('--vsock', '1024');
      expect(code).not.toBe(0);
      expect(stderr).toContain('vsock');
    },
  );
});
