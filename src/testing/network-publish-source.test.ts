/** Whom a guest sees of the clients of published ports. */
import { describe, expect, it } from 'vitest';
import { type GuestSocket, type TestNetwork, testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

/** Answers each connection with who it seems to come from. */
const who = (lab: TestNetwork, port: number) =>
  lab.guest.listen(port, (socket: GuestSocket) => socket.end(`${socket.remoteAddress}:${socket.remotePort}`));

describe('preserveSource, TCP', () => {
  it.each([
    ['its own address and port', '192.0.2.7', '192.0.2.7:50000'],
    ['the host alias for loopback', '127.0.0.9', '192.168.127.254:50000'],
    ['the host alias for loopback of IPv6', '::1', '192.168.127.254:50000'],
  ])('shows %s', async (_what, host, seen) => {
    await using lab = await testNetwork({ publish: ['*:8080:80,preserve-source'] });
    who(lab, 80);
    const client = lab.host.connect('0.0.0.0', 8080, { host, port: 50_000 });
    expect(await lab.run(readAll(client))).toBe(seen);
  });

  it.each(['192.168.127.9', '192.168.127.2', '2001:db8::7', '0.0.0.0', '255.255.255.255', '224.0.0.1'])(
    'shows the gateway where %s cannot be shown',
    async (host) => {
      await using lab = await testNetwork({ publish: ['8080:80,preserve-source'] });
      who(lab, 80);
      const client = lab.host.connect('127.0.0.1', 8080, { host, port: 50_000 });
      expect(await lab.run(readAll(client))).toMatch(/^192\.168\.127\.1:\d+$/);
    },
  );

  it('shows the gateway for loopback without a host alias, and for unix sockets', async () => {
    await using lab = await testNetwork({
      hostAlias: false,
      publish: ['8080:80,preserve-source', 'unix:/run/w:80,preserve-source'],
    });
    who(lab, 80);
    for (const client of [lab.host.connect('127.0.0.1', 8080), lab.host.connect('/run/w', 0)])
      expect(await lab.run(readAll(client))).toMatch(/^192\.168\.127\.1:\d+$/);
  });

  it('keeps clients of one address and port apart, by another port', async () => {
    await using lab = await testNetwork({
      publish: ['8080:80,preserve-source', '8081:80,preserve-source'],
    });
    lab.guest.listen(80, (socket) => {
      socket.write(`${socket.remotePort}\n`);
      socket.pipe(socket);
    });
    const from = { host: '192.0.2.7', port: 50_000 };
    const clients = [lab.host.connect('127.0.0.1', 8080, from), lab.host.connect('127.0.0.1', 8081, from)];
    clients.forEach((client, i) => client.end(`bytes of ${i}`));
    const [first, second] = await Promise.all(clients.map((client) => lab.run(readAll(client))));
    expect(first).toBe('50000\nbytes of 0');
    expect(second).toMatch(/^(?!50000)\d+\nbytes of 1$/);
  });

  it("is not what the guest's own connections to the same address are", async () => {
    await using lab = await testNetwork({ publish: ['8080:80,preserve-source'] });
    lab.host.accept('192.0.2.7:50000', (socket) => socket.end('outside'));
    lab.guest.listen(80, (socket) => socket.pipe(socket));
    const client = lab.host.connect('127.0.0.1', 8080, { host: '192.0.2.7', port: 50_000 });
    client.write('in');
    const out = await lab.run(lab.guest.connect('192.0.2.7', 50_000));
    expect(await lab.run(readAll(out))).toBe('outside');
    client.end('side');
    expect(await lab.run(readAll(client))).toBe('inside');
  });

  it('gives a guest nothing that the policy denies: only that connection', async () => {
    await using lab = await testNetwork({
      publish: ['8080:80,preserve-source'],
      policy: { default: 'deny' },
    });
    lab.host.accept('*', () => undefined);
    who(lab, 80);
    const client = lab.host.connect('127.0.0.1', 8080, { host: '192.0.2.7', port: 50_000 });
    expect(await lab.run(readAll(client))).toBe('192.0.2.7:50000');
    expect(await codeOf(lab.run(lab.guest.connect('192.0.2.7', 50_000)))).not.toBe('none');
    expect(lab.host.counters.dials).toBe(0);
  });
});

describe('preserveSource, UDP', () => {
  it('shows each client, and brings answers to the one that asked', async () => {
    await using lab = await testNetwork({ publish: ['5353:53/udp,preserve-source'] });
    const server = lab.guest.udp(53);
    for (const [host, seen] of [
      ['192.0.2.7', '192.0.2.7'],
      ['198.51.100.9', '198.51.100.9'],
      ['127.0.0.1', '192.168.127.254'],
      ['192.168.127.77', '192.168.127.1'],
    ] as const) {
      const client = lab.host.udpClient('127.0.0.1', 5353, { host, port: 7000 });
      client.send('question');
      const { ip, port } = await lab.run(server.recv());
      expect(ip).toBe(seen);
      if (seen !== lab.gateway) expect(port).toBe(7000);
      server.send(`answer for ${host}`, ip, port);
      expect(Buffer.from(await lab.run(client.recv())).toString()).toBe(`answer for ${host}`);
    }
    expect(lab.network.ports()).toMatchObject([{ clients: 4 }]);
  });

  it('leaves what the guest sends from another port to the same address to the policy', async () => {
    await using lab = await testNetwork({ publish: ['5353:53/udp,preserve-source'] });
    const outside: string[] = [];
    lab.host.datagrams('192.0.2.7:7000', ({ bytes }) => void outside.push(Buffer.from(bytes).toString()));
    const server = lab.guest.udp(53);
    const client = lab.host.udpClient('127.0.0.1', 5353, { host: '192.0.2.7', port: 7000 });
    client.send('question');
    await lab.run(server.recv());
    lab.guest.udp(54).send('to the world', '192.0.2.7', 7000);
    await lab.clock.settle();
    expect(outside).toEqual(['to the world']);
    expect(client.waiting).toBe(0);
    // A stranger on the same machine is no answer either: the socket of the service is closed.
    server.close();
    client.send('again');
    await lab.clock.advance(100);
    expect(lab.network.ports()).toMatchObject([{ clients: 0, counters: { refused: 1 } }]);
  });

  it('keeps its clients when the guest comes back', async () => {
    await using lab = await testNetwork({ publish: ['guest1@5353:53/udp', '5454:53/udp,preserve-source'] });
    const clients = [5353, 5454].map((port) =>
      lab.host.udpClient('127.0.0.1', port, { host: '192.0.2.7', port }),
    );
    const ask = async (server: ReturnType<typeof lab.guest.udp>) => {
      const seen: string[] = [];
      for (const client of clients) {
        client.send('question');
        const { ip, port } = await lab.run(server.recv());
        seen.push(`${ip}:${port}`);
        server.send('answer', ip, port);
        await lab.run(client.recv());
      }
      return seen;
    };
    const before = await ask(lab.guest.udp(53));
    lab.guest.close();
    await lab.clock.settle();
    const again = await lab.attach({ name: 'guest1', mac: '52:54:00:00:00:99' });
    expect(await ask(again.udp(53))).toEqual(before);
    expect(lab.network.ports().map(({ clients: n }) => n)).toEqual([1, 1]);
  });
});

describe('the PROXY protocol', () => {
  it.each([
    ['v1', { host: '192.0.2.7', port: 50_000 }, 'PROXY TCP4 192.0.2.7 127.0.0.1 50000 8080\r\nhello'],
    ['v1', undefined, 'PROXY UNKNOWN\r\nhello'],
  ] as const)(
    '%s tells the service who the client is, before its first byte',
    async (version, from, expected) => {
      await using lab = await testNetwork({
        publish: [`8080:80,proxy-protocol=${version}`, `unix:/run/w:80,proxy-protocol=${version}`],
      });
      lab.guest.listen(80, (socket) => socket.pipe(socket));
      const client = from ? lab.host.connect('127.0.0.1', 8080, from) : lab.host.connect('/run/w', 0);
      client.end('hello');
      expect(await lab.run(readAll(client))).toBe(expected);
    },
  );

  it('is there also when the server speaks first, and the client never', async () => {
    await using lab = await testNetwork({ publish: ['8080:80,proxy-protocol=v2'] });
    const heads: string[] = [];
    lab.guest.listen(80, (socket) => {
      socket.once('data', (chunk: Buffer) => {
        heads.push(chunk.toString('hex'));
        socket.end('banner');
      });
    });
    const client = lab.host.connect('127.0.0.1', 8080, { host: '192.0.2.7', port: 258 });
    expect(await lab.run(readAll(client))).toBe('banner');
    expect(heads).toEqual(['0d0a0d0a000d0a515549540a2111000cc00002077f00000101021f90']);
  });
});

describe('what a port may have', () => {
  it('resets connections beyond its own limit, and forgets the oldest UDP client', async () => {
    await using lab = await testNetwork({
      publish: ['8080:80,max-connections=2', '5353:53/udp,max-connections=2'],
    });
    lab.guest.listen(80, (socket) => socket.write('hello'));
    const held = [1, 2].map(() => lab.host.connect('127.0.0.1', 8080));
    await lab.clock.advance(100);
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8080))))).toBe('ECONNRESET');
    held[0]!.reset();
    await lab.clock.advance(100);
    const third = lab.host.connect('127.0.0.1', 8080);
    await lab.clock.advance(100);
    expect(third.destroyed).toBe(false);
    const server = lab.guest.udp(53);
    for (let i = 0; i < 3; i++) {
      lab.host.udpClient('127.0.0.1', 5353).send('x');
      await lab.run(server.recv());
    }
    const [tcp, udp] = lab.network.ports();
    expect([tcp!.clients, tcp!.counters['limit'], udp!.clients, udp!.counters['evicted']]).toEqual([
      2, 1, 2, 1,
    ]);
  });
});

describe('the guest that is meant', () => {
  it('is found by its MAC address, also with another lease', async () => {
    await using lab = await testNetwork({ publish: ['52:54:00:00:00:42@8080:80'] });
    const second = await lab.attach({ mac: '52:54:00:00:00:42' });
    second.listen(80, (socket) => socket.end(`at ${second.lease!.ip}`));
    const ask = (): Promise<string> => lab.run(readAll(lab.host.connect('127.0.0.1', 8080)));
    expect(await ask()).toBe(`at ${second.lease!.ip}`);
    expect(lab.network.ports()).toMatchObject([{ target: '52:54:00:00:00:42' }]);
    second.close();
    await lab.clock.settle();
    expect(await codeOf(ask())).toBe('ECONNRESET');
  });

  it('a port of ours that is taken says which one has it', async () => {
    await using lab = await testNetwork({ publish: ['8080:80'] });
    await expect(lab.network.publish('8080:81')).rejects.toMatchObject({
      message: 'cannot publish tcp 127.0.0.1:8080: address already in use',
      remedy: expect.stringContaining(
        'port is already allocated: published as 127.0.0.1:8080:80/tcp (id 1)',
      ) as string,
    });
  });

  it('ranges are published whole, or not at all', async () => {
    await using lab = await testNetwork({ publish: ['8002:80'] });
    const specs = [0, 1, 2].map((n) => `${8000 + n}:80`);
    await expect(lab.network.publishAll(specs)).rejects.toMatchObject({ errno: 'EADDRINUSE' });
    expect(lab.network.ports()).toHaveLength(1);
    expect(await lab.network.publishAll(specs.slice(0, 2))).toHaveLength(2);
  });
});
