import { describe, expect, it } from 'vitest';
import { testNetwork } from './index.js';
import { codeOf, digestAll, payload, readAll } from './testing.testutil.js';

describe('published TCP ports', () => {
  it('lead into the guest, with data, FIN and RST both ways', async () => {
    await using lab = await testNetwork({ publish: ['127.0.0.1:8080:80'] });
    const { bytes, sha256 } = payload(1_000_000);
    lab.guest.listen(80, (socket) => {
      expect(socket.remoteAddress).toBe(lab.gateway);
      socket.pipe(socket);
    });
    const client = lab.host.connect('127.0.0.1', 8080);
    client.end(bytes);
    expect(await lab.run(digestAll(client))).toEqual({ bytes: bytes.length, sha256 });

    lab.guest.listen(81, (socket) => socket.reset());
    await lab.network.publish('127.0.0.1:8081:81');
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8081))))).toBe('ECONNRESET');

    let code: Promise<string> | undefined;
    lab.guest.listen(82, (socket) => {
      code = codeOf(readAll(socket));
    });
    await lab.network.publish('127.0.0.1:8082:82');
    const rude = lab.host.connect('127.0.0.1', 8082);
    rude.write('half');
    await lab.clock.advance(100);
    rude.reset();
    await lab.clock.advance(100);
    expect(await lab.run(code!)).toBe('ECONNRESET');
    await lab.clock.advance(120_000);
    expect(lab.host.counters).toMatchObject({ openStreams: 0 });
    expect(lab.network.flows()).toEqual([]);
  });

  it('reset the client when nobody listens, when the guest is silent, and when there is none', async () => {
    await using lab = await testNetwork({
      publish: ['127.0.0.1:8080:80', '127.0.0.1:8081:80'],
    });
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8080))))).toBe('ECONNRESET');
    await lab.network.publish('nobody@127.0.0.1:8082:80');
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8082))))).toBe('ECONNRESET');
    await lab.network.publish('127.0.0.1:8083:192.168.127.200:80');
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8083))))).toBe('ECONNRESET');
    lab.guest.close();
    await lab.clock.settle();
    expect(await codeOf(lab.run(readAll(lab.host.connect('127.0.0.1', 8081))))).toBe('ECONNRESET');
    expect(lab.host.counters.openStreams).toBe(0);
  });

  it('bear clients that leave or end while the guest is looked for', async () => {
    await using lab = await testNetwork(
      { publish: ['127.0.0.1:8080:192.168.127.50:80'] },
      { guest: { lease: false } },
    );
    const [left, ended] = [lab.host.connect('127.0.0.1', 8080), lab.host.connect('127.0.0.1', 8080)];
    await lab.clock.advance(500);
    left.reset();
    ended.end();
    await lab.clock.advance(100);
    lab.guest.listen(80, (socket) => socket.end('late'));
    lab.guest.configure({ ip: '192.168.127.50', gateway: lab.gateway });
    lab.guest.announce();
    expect(await lab.run(readAll(ended))).toBe('late');
    await lab.clock.advance(120_000);
    expect(lab.network.ports()[0]!.counters).toMatchObject({ connections: 2, opened: 1 });
    expect(lab.host.counters.openStreams).toBe(0);
  });

  it('find the guest by name, by address, and again after it came back', async () => {
    await using lab = await testNetwork();
    const second = await lab.attach({ name: 'second', mac: '52:54:00:00:00:42' });
    await lab.network.publish('second@8001:80');
    await lab.network.publish(`8002:${second.lease!.ip}:80`);
    await lab.network.publish('8003:80');
    lab.guest.listen(80, (socket) => socket.end('first'));
    second.listen(80, (socket) => socket.end('second'));
    const ask = (port: number): Promise<string> => lab.run(readAll(lab.host.connect('127.0.0.1', port)));
    expect([await ask(8001), await ask(8002), await ask(8003)]).toEqual(['second', 'second', 'first']);
    second.close();
    await lab.clock.settle();
    const again = await lab.attach({ name: 'second', mac: '52:54:00:00:00:42' });
    again.listen(80, (socket) => socket.end('again'));
    expect([await ask(8001), await ask(8002)]).toEqual(['again', 'again']);
  });

  it('are listed, withdrawn, and taken once only', async () => {
    await using lab = await testNetwork();
    const port = await lab.network.publish('127.0.0.1:0:80');
    expect(port.port).toBeGreaterThan(0);
    expect(lab.network.ports()).toMatchObject([
      { protocol: 'tcp', host: '127.0.0.1', port: port.port, guestPort: 80 },
    ]);
    expect(await codeOf(lab.network.publish(`127.0.0.1:${port.port}:81`))).toBe('ERR_NETPROXY_PUBLISH');
    port.close();
    port.close();
    expect(lab.network.ports()).toEqual([]);
    expect(() => lab.host.connect('127.0.0.1', port.port)).toThrow('ECONNREFUSED');
  });
});

describe('published UDP ports', () => {
  it('lead into the guest and back to the client that asked', async () => {
    await using lab = await testNetwork({ publish: ['127.0.0.1:5353:53/udp'] });
    const server = lab.guest.udp(53);
    const clients = [lab.host.udpClient('127.0.0.1', 5353), lab.host.udpClient('127.0.0.1', 5353)];
    for (const [i, client] of clients.entries()) client.send(`question ${i}`);
    for (let i = 0; i < 2; i++) {
      const question = await lab.run(server.recv());
      server.send(`answer to ${Buffer.from(question.bytes).toString()}`, question.ip, question.port);
    }
    for (const [i, client] of clients.entries()) {
      expect(Buffer.from(await lab.run(client.recv())).toString()).toBe(`answer to question ${i}`);
    }
    await lab.clock.advance(200_000);
    clients[0]!.send('later');
    expect(Buffer.from((await lab.run(server.recv())).bytes).toString()).toBe('later');
  });

  it('show their clients among the flows, and forget one that is ended', async () => {
    await using lab = await testNetwork({ publish: ['127.0.0.1:5353:53/udp'] });
    const server = lab.guest.udp(53);
    const client = lab.host.udpClient('127.0.0.1', 5353);
    client.send('question');
    const question = await lab.run(server.recv());
    const flow = { protocol: 'udp', direction: 'in', guest: 'guest1', guestAddress: '192.168.127.2:53' };
    expect(lab.network.flows()).toMatchObject([
      { ...flow, state: 'UNREPLIED', bytesToGuest: 8, bytesToHost: 0 },
    ]);
    server.send('answer', question.ip, question.port);
    await lab.run(client.recv());
    const [known] = lab.network.flows();
    expect(known).toMatchObject({ ...flow, state: 'REPLIED', bytesToHost: 6 });
    expect(lab.network.ports()).toMatchObject([{ clients: 1 }]);
    expect([lab.network.killFlow(known!.id), lab.network.killFlow(known!.id)]).toEqual([true, false]);
    expect(lab.network.flows()).toEqual([]);
    client.send('again');
    await lab.run(server.recv());
    expect(lab.network.flows()[0]?.id).toBeGreaterThan(known!.id);
  });
});
