/** Name servers on loopback: connections that are kept, health, races, settings that change, TLS and HTTPS. */
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeIo } from './node-io.js';
import {
  ASKED,
  AUTHORITIES,
  PlayedServer,
  PromisedUpstream,
  answer,
  changed,
  closedPort,
  data,
  question,
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
  servers: readonly DnsServerAddress[] | (() => readonly DnsServerAddress[]),
  options: Partial<HostDnsUpstreamOptions> = {},
): PromisedUpstream => new PromisedUpstream(cleanup, servers, options);
const good: Reply = (asked) => [answer(asked)];

describe('sockets', () => {
  it('hundreds of queries at once share a few, and each gets its own answer', async () => {
    const server = await start((asked) => [answer(asked, `10.0.0.${asked[13]! - 0x30}`)]);
    for (const io of [undefined, nodeIo]) {
      server.asked.length = 0;
      const host = upstream([server.address], { io });
      const answers = await Promise.all(
        Array.from({ length: 300 }, (_, i) => host.query(question(`${i % 10}.example`), 'udp', 20_000)),
      );
      expect(answers.map(data)).toEqual(answers.map((_, i) => `10.0.0.${i % 10}`));
      expect(new Set(server.asked.map(({ port }) => port)).size).toBeLessThanOrEqual(17);
    }
  });

  it('what is for another id, or nothing at all, is passed over, in batches too', async () => {
    const server = await start((asked) => [
      changed(answer(asked, '6.6.6.6'), 1, asked[1]! ^ 1),
      new Uint8Array(0),
      answer(asked),
    ]);
    const host = upstream([server.address], { io: nodeIo });
    expect(data(await host.query(ASKED, 'udp', 20_000))).toBe('10.0.0.1');
  });

  it('says who answered', async () => {
    const server = await start(good);
    const { server: label } = await upstream([server.address]).ask(ASKED, 'udp', 20_000);
    expect(label).toBe(`127.0.0.1#${server.address.port}`);
  });
});

describe('health', () => {
  it('a dead server costs nobody an answer, and is found when it is back', async () => {
    const first = await start(silent);
    const second = await start((asked) => [answer(asked, '10.0.0.2')]);
    const host = upstream([first.address, second.address], { retry: 30 });
    for (let i = 0; i < 3; i++) expect(data(await host.query(ASKED, 'udp', 20_000))).toBe('10.0.0.2');
    first.udpReply = good;
    second.udpReply = silent;
    expect(data(await host.query(ASKED, 'udp', 20_000))).toBe('10.0.0.1');
  });

  it('a dead server gets queries beside the others now and then', async () => {
    const first = await start(silent);
    const second = await start((asked) => [answer(asked, '10.0.0.2')]);
    const host = upstream([first.address, second.address], { retry: 30 });
    for (let i = 0; i < 3; i++) await host.query(ASKED, 'udp', 20_000);
    first.asked.length = 0;
    first.udpReply = good;
    let found: unknown = '';
    while (found !== '10.0.0.1') found = data(await host.query(ASKED, 'udp', 20_000));
    expect(first.asked.length).toBeGreaterThan(0);
  });

  it('with all of them dead, everyone is asked until one answers', async () => {
    const servers = [await start(silent), await start(silent)];
    const host = upstream(
      servers.map(({ address }) => address),
      { retry: 20 },
    );
    for (let i = 0; i < 4; i++) {
      await expect(host.query(ASKED, 'udp', 120)).rejects.toMatchObject({ code: 'timeout' });
    }
    const waiting = host.query(ASKED, 'udp', 60_000);
    servers[1]!.udpReply = good;
    expect(data(await waiting)).toBe('10.0.0.1');
  });

  it('with all of them dead, some queries wait for one that is back, and the others fail at once', async () => {
    const server = await start(silent);
    const host = upstream([server.address], { retry: 20 });
    const waiting = Array.from({ length: 64 }, (_, i) => host.query(question(`${i}.example`), 'udp', 20_000));
    // Asked three times in vain, the server counts as down.
    await expect.poll(() => server.asked.length, { timeout: 15_000 }).toBeGreaterThan(64 * 4);
    await expect(host.query(ASKED, 'udp', 20_000)).rejects.toMatchObject({ code: 'unreachable' });
    server.udpReply = good;
    expect((await Promise.all(waiting)).map(data)).toEqual(Array.from(waiting, () => '10.0.0.1'));
    expect(data(await host.query(ASKED, 'udp', 20_000))).toBe('10.0.0.1');
  });

  it('a new list of servers is used at once; who waits for an old one still gets its answer', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const before = await start(silent);
    const after = await start((asked) => [answer(asked, '10.0.0.2')]);
    let list: readonly DnsServerAddress[] = [before.address];
    const host = upstream(() => list, { retry: 50 });
    before.udpReply = (asked) => {
      release();
      return before.asked.length > 1 ? [answer(asked)] : [];
    };
    const waiting = host.query(ASKED, 'udp', 60_000);
    await held;
    list = [after.address];
    expect(data(await host.query(ASKED, 'udp', 20_000))).toBe('10.0.0.2');
    expect(data(await waiting)).toBe('10.0.0.1');
  });
});

describe('connections', () => {
  it('are kept: many queries on one, answers in any order', async () => {
    const held: Uint8Array[] = [];
    const server = await start(silent, (asked) => {
      held.push(asked);
      return held.length < 20
        ? [new Uint8Array(12)]
        : held.reverse().map((one) => answer(one, `10.0.0.${one[13]!}`));
    });
    const host = upstream([server.address]);
    const names = Array.from({ length: 20 }, (_, i) => String.fromCharCode(0x61 + i));
    const answers = await Promise.all(names.map((name) => host.query(question(name), 'tcp', 20_000)));
    expect(answers.map(data)).toEqual(names.map((name) => `10.0.0.${name.charCodeAt(0)}`));
    expect(server.connections).toBe(1);
  });

  it('one that the server closed while it was idle is replaced without anybody noticing', async () => {
    const server = await start(silent, good);
    const host = upstream([server.address]);
    expect(data(await host.query(ASKED, 'tcp', 20_000))).toBe('10.0.0.1');
    const [stream] = server.streams;
    const closed = once(stream!, 'close');
    stream!.destroy();
    await closed;
    expect(data(await host.query(ASKED, 'tcp', 20_000))).toBe('10.0.0.1');
    expect(server.connections).toBe(2);
  });
});

describe('TLS and HTTPS', () => {
  const options = { ca: AUTHORITIES };

  it('TLS: checked by name or by address, on one connection', async () => {
    for (const by of ['name', 'address'] as const) {
      const server = await PlayedServer.tls(cleanup, good, by);
      const host = upstream([server.address], options);
      for (const transport of ['udp', 'tcp'] as const) {
        expect(data(await host.query(ASKED, transport, 20_000))).toBe('10.0.0.1');
      }
      expect(server.connections).toBe(1);
    }
  });

  it('TLS: a certificate of somebody else, or of nobody known, is refused, and nothing is asked', async () => {
    const server = await PlayedServer.tls(cleanup, good, 'name');
    const wrong = { ...server.address, name: 'other.test' };
    for (const host of [
      upstream([wrong], options),
      upstream([{ ...server.address, name: undefined }], options),
      upstream([server.address]),
    ]) {
      await expect(host.query(ASKED, 'udp', 20_000)).rejects.toMatchObject({ code: 'unreachable' });
    }
    expect(server.asked).toEqual([]);
  });

  it('HTTPS: POST with id 0 on one connection; other answers than DNS are none', async () => {
    const server = await PlayedServer.https(cleanup, good);
    const host = upstream([server.address], options);
    const answers = await Promise.all([1, 2, 3].map(() => host.query(ASKED, 'udp', 20_000)));
    expect(answers.map(data)).toEqual(['10.0.0.1', '10.0.0.1', '10.0.0.1']);
    expect(server.asked[0]!.transport).toBe('POST /dns-query');
    expect([...server.asked[0]!.bytes.subarray(0, 2)]).toEqual([0, 0]);
    expect(server.connections).toBe(1);
    const broken = await PlayedServer.https(cleanup, good, 500);
    const lying = await PlayedServer.https(cleanup, () => [new Uint8Array(40)]);
    for (const { address } of [broken, lying, { address: { ...server.address, name: 'other.test' } }]) {
      await expect(upstream([address], options).query(ASKED, 'udp', 20_000)).rejects.toMatchObject({
        code: 'unreachable',
      });
    }
  });

  it('goes on to the next server, whatever its kind', async () => {
    const plain = await start(good);
    const dead = await closedPort();
    const servers = [{ ...dead, kind: 'tls' }, { ...dead, kind: 'https' }, plain.address] as const;
    expect(data(await upstream(servers, options).query(ASKED, 'udp', 20_000))).toBe('10.0.0.1');
  });
});
