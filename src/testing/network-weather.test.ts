import { describe, expect, it } from 'vitest';
import { type HostUdpHandler, ipv4, type LogFields, silentLogger } from '../core/index.js';
import { type ScriptedGuest, type TestNetwork, testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const HOUR = 3_600_000;
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const;

/** A logger that keeps warnings. */
function warnings(): {
  readonly told: [string, LogFields | undefined][];
  readonly logger: typeof silentLogger;
} {
  const told: [string, LogFields | undefined][] = [];
  return { told, logger: { ...silentLogger, warn: (message, fields) => void told.push([message, fields]) } };
}

/** From now on the host has no UDP sockets; the returned function ends that. */
function withoutUdp(lab: TestNetwork, errno: string): () => void {
  const io = lab.host.deps.io as { udp: (handler: HostUdpHandler) => unknown };
  const real = io.udp;
  io.udp = (handler) => {
    queueMicrotask(() => {
      handler.error(errno, ipv4(0), 0, 0);
    });
    return { send: () => undefined, close: () => undefined };
  };
  return () => {
    io.udp = real;
  };
}

async function ask(lab: TestNetwork, guest: ScriptedGuest): Promise<string> {
  const socket = guest.udp();
  socket.send('hello', SERVER, 7);
  return Buffer.from((await lab.run(socket.recv({ timeout: 500 }))).bytes).toString();
}

describe('weather of the host', () => {
  it.each(SHORTAGES)(
    '%s at a dial: the SYN that is repeated tries again; told once, with how often',
    async (errno) => {
      const { told, logger } = warnings();
      await using lab = await testNetwork({}, { deps: { logger } });
      lab.host.fail('*', errno);
      const attempts = Array.from({ length: 40 }, () =>
        codeOf(lab.guest.connect(SERVER, 80, { timeout: 8000 })),
      );
      const patient = lab.guest.connect(SERVER, 80);
      await lab.clock.advance(1500);
      lab.host.accept(`${SERVER}:80`, (socket) => socket.end('ok'));
      expect(await lab.run(readAll(await lab.run(patient)))).toBe('ok');
      await lab.run(Promise.all(attempts));
      expect(lab.network.stats().outbound.exhausted).toBeGreaterThan(40);
      expect(told.map(([message]) => message)).toEqual([expect.stringContaining(errno)]);
      await lab.clock.advance(20_000);
      lab.host.fail('*', errno);
      expect(await codeOf(lab.run(lab.guest.connect('198.51.100.9', 81, { timeout: 500 })))).toBe(
        'ETIMEDOUT',
      );
      expect(told[1]?.[1]).toMatchObject({ errno, suppressed: expect.any(Number) as number });
    },
  );

  it.each(SHORTAGES)('%s for a UDP socket: the next datagram tries again; told once', async (errno) => {
    const { told, logger } = warnings();
    await using lab = await testNetwork({}, { deps: { logger } });
    lab.host.datagrams(`${SERVER}:7`, ({ bytes, reply }) => {
      reply(bytes);
    });
    const again = withoutUdp(lab, errno);
    const socket = lab.guest.udp();
    for (let i = 0; i < 20; i++) {
      socket.send('lost', SERVER, 7);
      await lab.clock.settle();
    }
    expect(lab.network.stats().memory.udpMappings).toBe(0);
    expect(told.map(([message]) => message)).toEqual([expect.stringContaining(errno)]);
    again();
    expect(await ask(lab, lab.guest)).toBe('hello');
  });

  it.each(['EMFILE', 'ENOBUFS'])(
    '%s while a published port takes connections: told once, counted',
    async (errno) => {
      const { told, logger } = warnings();
      await using lab = await testNetwork({ publish: ['127.0.0.1:8080:80'] }, { deps: { logger } });
      for (let i = 0; i < 20; i++) lab.host.failAccept('127.0.0.1', 8080, errno);
      expect(told.map(([message]) => message)).toEqual([
        expect.stringContaining(`published port 8080 takes no connections for the moment (${errno})`),
      ]);
      expect(lab.network.ports()[0]!.counters.acceptFailed).toBe(20);
    },
  );

  it('no network, and it comes back: guests are told, and the next attempt goes through', async () => {
    await using lab = await testNetwork();
    for (const errno of ['ENETDOWN', 'ENETUNREACH']) {
      lab.host.fail('*', errno);
      expect(await codeOf(lab.run(lab.guest.connect(SERVER, 80)))).toBe('ENETUNREACH');
    }
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end('ok'));
    expect(await lab.run(readAll(await lab.run(lab.guest.connect(SERVER, 80))))).toBe('ok');
  });

  it('an address of the host that changes: a dial from the one that went away is tried again', async () => {
    await using lab = await testNetwork();
    lab.host.fail('*', 'EADDRNOTAVAIL');
    const dialling = lab.guest.connect(SERVER, 80);
    await lab.clock.advance(50);
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end('ok'));
    expect(await lab.run(readAll(await lab.run(dialling)))).toBe('ok');
    expect(lab.network.stats().outbound.retried).toBe(1);
  });

  it('an hour asleep: flows, leases and the clock’s timers go on, mappings that were over are gone', async () => {
    await using lab = await testNetwork();
    lab.host.accept(`${SERVER}:80`, (socket) => socket.pipe(socket));
    lab.host.datagrams(`${SERVER}:7`, ({ bytes, reply }) => {
      reply(bytes);
    });
    lab.host.blackhole('198.51.100.7:80');
    const sockets = await lab.run(
      Promise.all(Array.from({ length: 50 }, () => lab.guest.connect(SERVER, 80))),
    );
    const dialling = codeOf(lab.guest.connect('198.51.100.7', 80));
    for (const socket of sockets) socket.write('before ');
    expect(await ask(lab, lab.guest)).toBe('hello');
    const { address } = lab.guest;
    const sent = lab.network.guests()[0]!.counters['framesOut']!;
    lab.clock.suspend(HOUR);
    await lab.clock.settle();
    // No burst of frames: at most one for each flow and a few of the rest.
    expect(lab.network.guests()[0]!.counters['framesOut']! - sent).toBeLessThan(3 * sockets.length);
    for (const socket of sockets) socket.end('after');
    for (const socket of sockets) expect(await lab.run(readAll(socket))).toBe('before after');
    expect(lab.network.stats().memory.udpMappings).toBe(0);
    expect(await lab.run(dialling)).toBe('ETIMEDOUT');
    expect(lab.network.leases()).toMatchObject([{ ip: address }]);
    expect((await lab.run(lab.guest.renew())).ip).toBe(address);
    expect(await ask(lab, lab.guest)).toBe('hello');
  });

  it('a resolver that hangs: SERVFAIL at the deadline, and names that need none are answered meanwhile', async () => {
    const resolver = {
      lookup: () => new Promise<never>(() => undefined),
      reverse: () => new Promise<never>(() => undefined),
      close: () => undefined,
    };
    await using lab = await testNetwork({ dns: { deadline: 2000 } }, { deps: { resolver } });
    const hanging = lab.guest.query('slow.test', 'A', { timeout: 10_000 });
    expect(await lab.run(lab.guest.resolve('gateway.netproxy.internal'))).toEqual([lab.gateway]);
    expect((await lab.run(hanging)).rcode).toBe('SERVFAIL');
  });
});
