/** The host's name servers, played on loopback: plain ones. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ASKED,
  PlayedServer,
  PromisedUpstream,
  answer,
  changed,
  closedPort,
  data,
  silent,
  type Reply,
} from './dns-servers.testutil.js';
import type { HostDnsUpstreamOptions } from './dns-upstream.js';
import type { DnsServerAddress } from './resolver-files.js';

const cleanups: (() => void)[] = [];
const cleanup = (last: () => void): void => void cleanups.push(last);
afterEach(() => {
  for (const last of cleanups.splice(0)) last();
});

const start = (udp: Reply, tcp?: Reply): Promise<PlayedServer> => PlayedServer.start(cleanup, udp, tcp);
const upstream = (
  servers: readonly DnsServerAddress[],
  options: Partial<HostDnsUpstreamOptions> = {},
): PromisedUpstream => new PromisedUpstream(cleanup, servers, options);

describe('by UDP', () => {
  it('asks with a random id from a random port', async () => {
    const server = await start((asked) => [answer(asked)]);
    const host = upstream([server.address]);
    for (let i = 0; i < 8; i++) expect(data(await host.query(ASKED, 'udp', 2000))).toBe('10.0.0.1');
    const ids = new Set(server.asked.map(({ bytes }) => (bytes[0]! << 8) | bytes[1]!));
    expect(ids.size).toBeGreaterThan(5);
    expect(new Set(server.asked.map(({ port }) => port)).size).toBeGreaterThan(5);
    expect(Buffer.from(server.asked[0]!.bytes).subarray(2)).toEqual(Buffer.from(ASKED).subarray(2));
  });

  it('passes over what does not match', async () => {
    const server = await start((asked) => {
      const good = answer(asked);
      return [
        changed(answer(asked, '6.6.6.6'), 0, good[0]! ^ 1),
        changed(answer(asked, '6.6.6.6'), 13, 0x78),
        changed(answer(asked, '6.6.6.6'), 2, 0x01),
        new Uint8Array(3),
        good,
      ];
    });
    expect(data(await upstream([server.address]).query(ASKED, 'udp', 2000))).toBe('10.0.0.1');
  });

  it('asks the next server when one is silent, and the first again', async () => {
    let seen = 0;
    const first = await start((asked) => (++seen === 1 ? [] : [answer(asked, '10.0.0.1')]));
    const second = await start(silent);
    expect(data(await upstream([first.address, second.address]).query(ASKED, 'udp', 5000))).toBe('10.0.0.1');
    expect(second.asked).toHaveLength(1);
    expect(new Set(first.asked.map(({ port }) => port)).size).toBe(1);
  });

  it('asks the next server at once when one refuses the connection', async () => {
    const server = await start((asked) => [answer(asked)]);
    const host = upstream([await closedPort(), server.address], { retry: 60_000 });
    expect(data(await host.query(ASKED, 'udp', 5000))).toBe('10.0.0.1');
  });

  it('prefers an answer to SERVFAIL, and SERVFAIL to none', async () => {
    const bad = await start((asked) => [answer(asked, '10.0.0.2', 2)]);
    const good = await start((asked) => [answer(asked)]);
    const options = { retry: 60_000 };
    expect(data(await upstream([bad.address, good.address], options).query(ASKED, 'udp', 5000))).toBe(
      '10.0.0.1',
    );
    const poor = await upstream([bad.address, await closedPort()], options).query(ASKED, 'udp', 5000);
    expect(poor[3]! & 15).toBe(2);
    const late = await upstream([bad.address, (await start(silent)).address]).query(ASKED, 'udp', 300);
    expect(late[3]! & 15).toBe(2);
  });

  it('asks again by TCP when the answer was truncated', async () => {
    const server = await start(
      (asked) => [answer(asked, '10.0.0.1', 0x0200)],
      (asked) => [answer(asked, '10.0.0.3')],
    );
    expect(data(await upstream([server.address]).query(ASKED, 'udp', 5000))).toBe('10.0.0.3');
    expect(server.asked.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
  });

  it('takes the truncated answer when TCP fails', async () => {
    const cut: Reply = (asked) => [answer(asked, '10.0.0.1', 0x0200)];
    const without = await start(cut);
    expect(data(await upstream([without.address]).query(ASKED, 'udp', 5000))).toBe('10.0.0.1');
    const closing = await start(cut, silent);
    expect(data(await upstream([closing.address]).query(ASKED, 'udp', 5000))).toBe('10.0.0.1');
  });

  it('rejects in time, with the reason', async () => {
    const dead = upstream([await closedPort()], { retry: 60_000 });
    await expect(dead.query(ASKED, 'udp', 5000)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    const mute = upstream([(await start(silent)).address]);
    await expect(mute.query(ASKED, 'udp', 250)).rejects.toMatchObject({ code: 'timeout' });
    await expect(upstream([]).query(ASKED, 'udp', 250)).rejects.toMatchObject({ code: 'noServers' });
  });

  it('works over IPv6', async () => {
    const socket = createSocket('udp6').bind(0, '::1');
    await once(socket, 'listening');
    cleanups.push(() => socket.close());
    socket.on('message', (bytes, peer) => socket.send(answer(bytes), peer.port, peer.address));
    const host = upstream([{ host: '::1', port: socket.address().port }]);
    expect(data(await host.query(ASKED, 'udp', 5000))).toBe('10.0.0.1');
  });

  it('holds its limit, and lets go of everything at close', async () => {
    const host = upstream([(await start(silent)).address], { maxInFlight: 2 });
    const waiting = [host.query(ASKED, 'udp', 60_000), host.query(ASKED, 'tcp', 60_000)];
    const refused = waiting.map((query) => expect(query).rejects.toMatchObject({ name: 'DnsUpstreamError' }));
    await expect(host.query(ASKED, 'udp', 60_000)).rejects.toMatchObject({ code: 'overloaded' });
    host.close();
    await Promise.all(refused);
    await expect(host.query(ASKED, 'udp', 60_000)).rejects.toMatchObject({ code: 'closed' });
  });
});

describe('by TCP', () => {
  it('asks, passes over what does not match, and takes long answers', async () => {
    const long = (asked: Uint8Array): Uint8Array => {
      const whole = new Uint8Array(60_000);
      whole.set(answer(asked));
      return whole;
    };
    const server = await start(silent, (asked) => [
      changed(answer(asked, '6.6.6.6'), 1, asked[1]! ^ 1),
      long(asked),
    ]);
    expect(await upstream([server.address]).query(ASKED, 'tcp', 5000)).toHaveLength(60_000);
  });

  it('goes on to the next server: refused, closed, garbage, SERVFAIL', async () => {
    const closing = await start(silent, silent);
    const garbage = await start(silent, () => [new Uint8Array(2)]);
    const failing = await start(silent, (asked) => [answer(asked, '10.0.0.9', 2)]);
    const good = await start(silent, (asked) => [answer(asked)]);
    const bad = [await closedPort(), closing.address, garbage.address, failing.address];
    expect(data(await upstream([...bad, good.address]).query(ASKED, 'tcp', 5000))).toBe('10.0.0.1');
    expect((await upstream(bad).query(ASKED, 'tcp', 5000))[3]! & 15).toBe(2);
    await expect(upstream(bad.slice(0, 3)).query(ASKED, 'tcp', 5000)).rejects.toMatchObject({
      code: 'unreachable',
    });
  });
});
