/** The commands that ask a running netproxy, against one whose control API is on a real socket. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab } from '../api/api.testutil.js';
import { defaultApiAddress } from '../client/index.js';
import { FakeTerminal, netproxy } from './cli.testutil.js';
import { capture } from './remote-streams.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
});
afterEach(() => api[Symbol.asyncDispose]());

const ask = (command: string, ...args: string[]) =>
  netproxy(...command.split(' '), '--api', api.address, ...args);
const lines = (text: string): string[] => text.trimEnd().split('\n');

describe('lists', () => {
  it('guests, and one less', async () => {
    await api.lab.attach({ name: 'two' });
    const { code, out, err } = await ask('guests');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(lines(out)[0]).toMatch(/^ *ID +NAME +IP +MAC +LINK +IN +OUT$/);
    expect(lines(out)[2]).toMatch(
      /^ *2 +two +192\.168\.127\.3 +52:54:00:00:00:02 +memory .+ \S+ k?B +\S+ k?B$/,
    );
    expect(await ask('guests', '--detach', 'two')).toMatchObject({ code: 0, out: 'two was detached\n' });
    expect(await ask('guests', '--detach', 'two')).toMatchObject({
      code: 1,
      err: 'netproxy: there is no guest two.\n',
    });
    expect(JSON.parse((await ask('guests', '--json')).out)).toMatchObject({
      name: 'guest1',
      ip: '192.168.127.2',
    });
  });

  it('leases', async () => {
    expect(lines((await ask('leases')).out)[1]).toMatch(
      /^192\.168\.127\.2 +52:54:00:00:00:01 +guest1 +guest1 +(23 h 59 min|1 d|24 h)$/,
    );
    expect(JSON.parse((await ask('leases', '--json')).out)).toMatchObject({ ip: '192.168.127.2' });
  });

  it('counters', async () => {
    const { out } = await ask('stats');
    expect(out).toMatch(/^outbound\.dialed 0$/m);
    expect(out).toMatch(/^guests\.guest1\.framesIn \d+$/m);
    expect(JSON.parse((await ask('stats', '--json')).out)).toMatchObject({ outbound: { dialed: 0 } });
  });

  it('rules', async () => {
    expect((await ask('policy list')).out).toMatch(/^ID +RULE +DECIDED\n(.+\n)* *- +default: allow +\d+\n$/);
    expect(JSON.parse((await ask('policy', '--json')).out)).toMatchObject({ default: 'allow', rules: [] });
  });

  it('nothing where there is nothing', async () => {
    expect(await ask('ports')).toEqual({ code: 0, out: '', err: '' });
    expect(await ask('flows')).toEqual({ code: 0, out: '', err: '' });
  });
});

describe('published ports', () => {
  it('come and go, by what people call them', async () => {
    expect(await ask('publish', '127.0.0.1:8080:80', 'guest1@127.0.0.2:8080:81', '5300:53/udp')).toEqual({
      code: 0,
      out: 'published 127.0.0.1:8080:80/tcp (id 1)\npublished guest1@127.0.0.2:8080:81/tcp (id 2)\npublished 127.0.0.1:5300:53/udp (id 3)\n',
      err: '',
    });
    const { out } = await ask('ports');
    expect(lines(out)[0]).toMatch(/^ *ID +PROTO +HOST +TARGET +STATE +CLIENTS +ALL +REFUSED$/);
    expect(lines(out)[2]).toMatch(/^ *2 +tcp +127\.0\.0\.2:8080 +guest1, port 81 +listening +0 +0 +0$/);
    expect(await ask('unpublish', '8080')).toMatchObject({
      code: 2,
      err: expect.stringContaining('several ports are published at 8080') as string,
    });
    expect(JSON.parse((await ask('publish', '--json', '--no-keep', '8090:80')).out)).toMatchObject({
      kept: false,
    });
    expect((await ask('unpublish', '8090')).code).toBe(0);
    expect(await ask('unpublish', '127.0.0.2:8080', '5300/udp', 'id:1')).toMatchObject({
      code: 0,
      out: 'withdrew guest1@127.0.0.2:8080:81/tcp\nwithdrew 127.0.0.1:5300:53/udp\nwithdrew 127.0.0.1:8080:80/tcp\n',
    });
    expect((await ask('ports')).out).toBe('');
    expect(await ask('unpublish', 'id:99')).toMatchObject({
      code: 2,
      err: expect.stringContaining('nothing is published at id:99') as string,
    });
    expect(await ask('unpublish', '8080')).toMatchObject({
      code: 2,
      err: expect.stringContaining('nothing is published at 8080') as string,
    });
  });

  it('come in ranges', async () => {
    expect(lines((await ask('publish', '127.0.0.1:8000-8002:80-82')).out)).toEqual([
      'published 127.0.0.1:8000:80/tcp (id 1)',
      'published 127.0.0.1:8001:81/tcp (id 2)',
      'published 127.0.0.1:8002:82/tcp (id 3)',
    ]);
  });

  it('say which port the host chose, and that one is taken', async () => {
    const { out } = await ask('publish', '--json', '127.0.0.1:0:80');
    const { port } = JSON.parse(out) as { port: number };
    expect(port).toBeGreaterThan(0);
    const taken = await ask('publish', `127.0.0.1:${port}:80`);
    expect(taken).toMatchObject({ code: 3, out: '' });
    expect(taken.err).toContain('address already in use');
  });

  it.each([
    [['publish', '80'], 'publish: bad port to publish "80"'],
    [['unpublish', 'x'], '"x" names no published port'],
    [['unpublish', '0'], '"0" names no published port'],
    [['unpublish', '1.2.3.4:80/sctp'], 'names no published port'],
    [['events', '--last', '300'], '--last: 300 is not allowed'],
    [['events', '--types', 'x'], 'types: "x" is not allowed'],
    [['capture'], 'capture needs --write'],
    [['capture', '-w', '-', '--guest', 'a b'], '--guest: "a b" is not allowed'],
  ])('%j is refused', async ([command = '', ...args], words) => {
    const { code, err } = await ask(command, ...args);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });
});

describe('events', () => {
  it('tell what happened lately', async () => {
    await ask('publish', '127.0.0.1:0:80');
    await api.lab.attach({ name: 'two' });
    api.lab.network.emit('warning', 'look out');
    const { code, out } = await ask('events', '--last', '9');
    expect(code).toBe(0);
    expect(lines(out).map((line) => line.slice(13))).toEqual([
      expect.stringMatching(/^published 127\.0\.0\.1:\d+:80\/tcp$/),
      expect.stringMatching(/^attached two over memory \(.+\)$/),
      'lease bound 192.168.127.3 52:54:00:00:00:02 two',
      'warning: look out',
    ]);
    expect(
      lines((await ask('events', '--json', '--types', 'warning')).out).map(
        (line) => JSON.parse(line) as unknown,
      ),
    ).toMatchObject([{ event: 'warning', message: 'look out' }]);
  });

  it('follow until netproxy ends', async () => {
    const following = ask('events', '-f', '--json');
    for (let n = 0; n < 100; n++) {
      api.lab.network.emit('warning', 'look out');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    api.api.close();
    const { code, out } = await following;
    expect(code).toBe(0);
    expect(JSON.parse(lines(out)[0] ?? '')).toMatchObject({ event: 'warning' });
  });
});

describe('capture', () => {
  it('writes a file of mode 0600', async () => {
    const file = path.join(api.folder, 'x.pcapng');
    const running = ask('capture', '-w', file);
    for (let n = 0; n < 100 && api.lab.network.guests()[0]?.sink === undefined; n++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await api.lab.run(api.lab.guest.ping(api.lab.gateway));
    await new Promise((resolve) => setTimeout(resolve, 300));
    api.api.close();
    expect(await running).toMatchObject({ code: 0, err: `capturing to ${file}; end with Ctrl-C\n` });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file).length).toBeGreaterThan(200);
  });

  it('streams to standard output, and ends when its reader does', async () => {
    const output = new PassThrough();
    const running = capture({ write: '-', api: api.address }, new FakeTerminal(), () => output);
    const magic = await new Promise<Buffer>((resolve) => output.once('data', resolve));
    expect(magic.readUInt32LE(0)).toBe(0x0a0d0d0a);
    output.destroy();
    expect(await running).toBe(0);
  });

  it('says which guest is not there', async () => {
    expect(await ask('capture', '--guest', 'nobody', '-w', '-')).toMatchObject({
      code: 1,
      err: 'netproxy: there is no guest nobody.\n',
    });
  });
});

describe('explain', () => {
  it('asks the running netproxy where one is named', async () => {
    expect((await ask('explain', '192.168.127.254:80')).out).toContain(
      "allowed; the host's loopback is dialled",
    );
    expect(JSON.parse((await ask('explain', '--json', '127.0.0.1')).out)).toMatchObject({
      verdict: 'deny',
      how: 'silent',
      rule: 'loopback',
    });
  });
});

describe('where the control API is', () => {
  it('is said by the environment', async () => {
    process.env['NETPROXY_API'] = api.address;
    expect(await netproxy('leases')).toMatchObject({
      code: 0,
      out: expect.stringContaining('192.168.127.2') as string,
    });
    delete process.env['NETPROXY_API'];
  });

  it('is in a folder of its user otherwise', () => {
    expect(defaultApiAddress({}, 0)).toBe('unix:/run/netproxy.sock');
    expect(defaultApiAddress({ XDG_RUNTIME_DIR: '/run/user/7' }, 7)).toBe('unix:/run/user/7/netproxy.sock');
    expect(defaultApiAddress({ XDG_RUNTIME_DIR: 'here' }, 7)).toBeUndefined();
    expect(defaultApiAddress({}, 7)).toBeUndefined();
  });

  it('may be TCP, with the token of a file', async () => {
    const file = path.join(api.folder, 'token');
    writeFileSync(file, 'a-token-of-some-length\n', { mode: 0o600 });
    const address = await api.api.listen('tcp:127.0.0.1:0', { token: 'a-token-of-some-length' });
    expect(await netproxy('guests', '--api', address, '--token-file', file)).toMatchObject({ code: 0 });
    expect(await netproxy('guests', '--api', address)).toMatchObject({
      code: 1,
      err: expect.stringContaining('the token is missing or wrong') as string,
    });
  });
});
