/** The HTTP proxy of a network: a scripted guest speaks to it, the world is a host in memory. */
import { describe, expect, it } from 'vitest';
import type { HostSocket } from './index.js';
import { ask, ok, proxyLab, serve, until } from './proxy.testutil.js';

describe('the explicit proxy', () => {
  it('passes a request on, without what is for it alone', async () => {
    await using lab = await proxyLab();
    let seen = '';
    serve(lab, '198.51.100.1:80', (head, socket) => {
      seen = head;
      socket.write(ok('hello'));
    });
    const answer = await ask(
      lab,
      'GET http://origin.test/a?b=c HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nConnection: X-Secret\r\n' +
        'X-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic c2VjcmV0\r\nX-Kept: yes\r\nTE: trailers\r\n\r\n',
      until('hello'),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toContain('Via: 1.1 netproxy');
    expect(seen).toMatch(/^GET \/a\?b=c HTTP\/1\.1\r\nHost: origin\.test\r\n/);
    expect(seen).toContain('X-Kept: yes');
    expect(seen).toContain('Via: 1.1 netproxy');
    expect(seen).not.toMatch(/secret|proxy-(connection|authorization)|keep-alive: 5|c2VjcmV0/i);
  });

  it('answers pipelined requests in order, over one kept connection', async () => {
    await using lab = await proxyLab();
    let connections = 0;
    lab.host.accept('198.51.100.1:80', (socket) => {
      connections++;
      socket.on('data', (chunk: Buffer) => {
        const path = /^GET (\S+)/.exec(chunk.toString())?.[1] ?? '';
        socket.write(ok(path));
      });
    });
    const one = (n: number): string => `GET http://origin.test/${n} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const answer = await ask(lab, [1, 2, 3, 4, 5].map(one).join(''), until('/5'));
    expect([...answer.matchAll(/\r\n\r\n(\/\d)/g)].map((match) => match[1])).toEqual([
      '/1',
      '/2',
      '/3',
      '/4',
      '/5',
    ]);
    expect(connections).toBe(1);
    // A kept connection is closed after a while.
    await lab.clock.advance(10_000);
    expect(lab.network.stats().httpProxy.kept).toBe(0);
  });

  it('sends again what a kept connection did not answer, but never a body', async () => {
    await using lab = await proxyLab();
    const seen: string[] = [];
    lab.host.accept('198.51.100.1:80', (socket) => {
      let served = false;
      socket.on('data', (chunk: Buffer) => {
        if (served) {
          socket.reset();
          return;
        }
        served = true;
        seen.push(chunk.toString().split(' ')[0]!);
        socket.write(ok('ok'));
      });
    });
    for (const method of ['GET', 'GET', 'GET', 'POST']) {
      const text = `${method} http://origin.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`;
      expect(await ask(lab, text, until('\r\n\r\nok'))).toContain('200 OK');
    }
    expect(seen).toEqual(['GET', 'GET', 'GET', 'POST']);
    expect(lab.network.stats().httpProxy.retried).toBeGreaterThanOrEqual(1);
  });

  it('streams chunked bodies with trailers both ways', async () => {
    await using lab = await proxyLab();
    let received = '';
    lab.host.accept('198.51.100.1:80', (socket) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString();
        if (!received.endsWith('X-Sum: 1\r\n\r\n')) return;
        socket.write(
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n3\r\nabc\r\n0\r\nX-End: 2\r\n\r\n',
        );
      });
    });
    const answer = await ask(
      lab,
      'PUT http://origin.test/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n',
      until('X-End: 2'),
    );
    expect(received).toMatch(/5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n$/);
    expect(answer).toMatch(/3\r\nabc\r\n0\r\nX-End: 2/);
  });

  it('knows HEAD, HTTP/1.0, answers without a length, and 304', async () => {
    await using lab = await proxyLab();
    serve(lab, '198.51.100.1:80', (head, socket) => {
      if (head.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n');
      else if (head.includes('/304')) socket.write('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n');
      else socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end');
    });
    const get = (what: string, version = '1.1'): string =>
      `${what} HTTP/${version}\r\nHost: origin.test\r\nConnection: close\r\n\r\n`;
    expect(await ask(lab, get('HEAD http://origin.test/'))).toMatch(/Content-Length: 12345\r\n[^]*\r\n\r\n$/);
    expect(await ask(lab, get('GET http://origin.test/304'))).toMatch(/^HTTP\/1\.1 304[^]*\r\n\r\n$/);
    expect(await ask(lab, get('GET http://origin.test/'))).toMatch(/until the end\r\n0\r\n\r\n$/);
    const old = await ask(lab, get('GET http://origin.test/', '1.0'));
    expect(old).toMatch(/\r\n\r\nuntil the end$/);
    expect(old).not.toMatch(/transfer-encoding/i);
  });

  it('lets the origin say 100 before the body comes, and passes early hints', async () => {
    await using lab = await proxyLab();
    let received = '';
    lab.host.accept('198.51.100.1:80', (socket) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString();
        if (received.endsWith('\r\n\r\n'))
          socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
        if (received.endsWith('body')) socket.write(ok('thanks'));
      });
    });
    const answer = await lab.run(async () => {
      const socket = await lab.guest.connect(lab.gateway, 3128);
      socket.write(
        'POST http://origin.test/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
      );
      let text = '';
      for await (const chunk of socket) {
        text += (chunk as Buffer).toString();
        if (text.includes('100 Continue') && !received.endsWith('body')) socket.write('body');
        if (text.endsWith('thanks')) break;
      }
      return text;
    });
    expect(answer).toMatch(
      /^HTTP\/1\.1 103[^]*Link: <\/a\.css>[^]*HTTP\/1\.1 100 Continue[^]*200 OK[^]*thanks$/i,
    );
  });

  it('does not let a broken answer look complete', async () => {
    await using lab = await proxyLab();
    let origin: HostSocket | undefined;
    serve(lab, '198.51.100.1:80', (_head, socket) => {
      origin = socket;
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    });
    const answer = await ask(lab, 'GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n', (text) => {
      if (text.includes('hello')) origin?.reset();
      return false;
    });
    expect(answer).toMatch(/hello[^]*\[reset\]$/);
    expect(answer).not.toContain('0\r\n\r\n');
  });

  it('ends the upstream request when the guest goes', async () => {
    await using lab = await proxyLab();
    const ended = new Promise<void>((resolve) => {
      serve(lab, '198.51.100.1:80', (_head, socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nx');
        socket.once('close', resolve);
      });
    });
    await ask(lab, 'GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n', until('\r\n\r\nx'));
    await lab.run(ended);
    expect(lab.network.stats().httpProxy).toMatchObject({ clients: 0, kept: 0 });
  });

  it('opens a tunnel as a flow of its own', async () => {
    await using lab = await proxyLab();
    lab.host.accept('198.51.100.1:443', (socket) => {
      socket.pipe(socket);
    });
    const answer = await lab.run(async () => {
      const socket = await lab.guest.connect(lab.gateway, 3128);
      // Bytes right behind the head are the tunnel's.
      socket.write('CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\nfirst ');
      let text = '';
      for await (const chunk of socket) {
        text += (chunk as Buffer).toString();
        if (text.endsWith('first ')) {
          expect(lab.network.flows()).toMatchObject([{ peer: 'origin.test:443', state: 'ESTABLISHED' }]);
          socket.end('second');
        }
      }
      return text;
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^\r]*\r\n\r\nfirst second$/);
    expect(lab.network.stats().outbound.adopted).toBe(1);
    await lab.clock.advance(10_000);
    expect(lab.network.flowCount).toBe(0);
  });

  it('upgrades to another protocol', async () => {
    await using lab = await proxyLab();
    serve(lab, '198.51.100.1:80', (head, socket) => {
      expect(head).toMatch(/Connection: Upgrade\r\nUpgrade: websocket/);
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi ',
      );
      socket.removeAllListeners('data');
      socket.pipe(socket);
    });
    const ask101 =
      'GET http://origin.test/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    const answer = await ask(lab, `${ask101}echo`, until('echo'));
    expect(answer).toMatch(/^HTTP\/1\.1 101 [^]*Upgrade: websocket\r\n[^]*\r\n\r\nhi echo$/);
  });

  it('passes an answer on that is no upgrade', async () => {
    await using lab = await proxyLab();
    serve(lab, '198.51.100.1:80', (_head, socket) => socket.write(ok('plain')));
    const answer = await ask(
      lab,
      'GET http://origin.test/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK[^]*Connection: close[^]*plain$/i);
  });
});

describe('policy and the explicit proxy', () => {
  it.each([
    ['127.0.0.1', 'loopback'],
    ['localhost', 'loopback'],
    ['127.1', 'loopback'],
    ['2130706433', 'loopback'],
    ['0x7f.1', 'loopback'],
    ['[::ffff:127.0.0.1]', 'loopback'],
    ['[::1]', 'ipv6'],
    ['0.0.0.0', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['10.1.2.3', 'deny 10.0.0.0/8'],
    ['secret.test', 'deny 10.0.0.0/8'],
    ['192.168.127.1', 'gateway'],
    ['224.0.0.1', 'multicast'],
  ])('refuses %s by the rule %s, in a request and in CONNECT', async (host, rule) => {
    await using lab = await proxyLab({ policy: { rules: ['deny 10.0.0.0/8'] } });
    lab.host.accept('*', (socket) => socket.end('never'));
    lab.host.name('secret.test', '10.9.9.9');
    for (const text of [
      `GET http://${host}:81/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: application/json\r\n\r\n`,
      `CONNECT ${host}:81 HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n`,
    ]) {
      const answer = await ask(lab, text);
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      expect(answer).toMatch(/Proxy-Status: netproxy; error=http_request_denied; details="/);
      expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({ status: 403, rule });
    }
    expect(lab.host.counters.dials).toBe(0);
    expect(lab.network.stats().httpProxy.denied).toBe(2);
  });

  it('leads host.docker.internal to the loopback, past every upstream', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['proxy.corp:3128'] } });
    lab.host.accept('127.0.0.1:8080', (socket) => socket.on('data', () => socket.write(ok('the host'))));
    const text = 'GET http://host.docker.internal:8080/ HTTP/1.1\r\nHost: x\r\n\r\n';
    expect(await ask(lab, text, until('the host'))).toContain('200 OK');
  });

  it('judges names that only an upstream knows by the rules about everything', async () => {
    const config = { httpProxy: { http: ['proxy.corp:3128'] } };
    const text = 'GET http://intranet.corp/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    await using open = await proxyLab(config);
    serve(open, '203.0.113.9:3128', (_head, socket) => socket.write(ok('intranet')));
    expect(await ask(open, text)).toContain('intranet');
    await using closed = await proxyLab({
      ...config,
      policy: { default: 'deny', rules: ['allow 198.51.100.0/24'] },
    });
    expect(await ask(closed, text)).toMatch(/^HTTP\/1\.1 403 [^]*rule: default/);
  });

  it('is not there when it is off', async () => {
    await using lab = await proxyLab({ httpProxy: { explicit: false } });
    const dial = lab.run(lab.guest.connect(lab.gateway, 3128));
    await expect(dial).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(lab.run(lab.guest.resolve('proxy.netproxy.internal'))).rejects.toThrow();
  });

  it('has a name', async () => {
    await using lab = await proxyLab({
      httpProxy: { names: ['proxy.netproxy.internal', 'squid.corp.test'] },
    });
    for (const name of ['proxy.netproxy.internal', 'squid.corp.test'])
      expect(await lab.run(lab.guest.resolve(name))).toEqual([lab.gateway]);
  });
});
