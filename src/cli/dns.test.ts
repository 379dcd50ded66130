/** `netproxy dns`, against a netproxy whose control API is on a real socket. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab } from '../api/api.testutil.js';
import { connectApi } from '../client/index.js';
import { netproxy } from './cli.testutil.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
});
afterEach(() => api[Symbol.asyncDispose]());

const ask = (command: string, ...args: string[]) =>
  netproxy(...command.split(' '), '--api', api.address, ...args);

function file(text: string): string {
  const name = path.join(path.dirname(api.address.slice('unix:'.length)), 'zones');
  writeFileSync(name, text);
  return name;
}

describe('netproxy dns zones', () => {
  it('come, answer, and go', async () => {
    const zones = file(`
- name: corp.example
  records:
    - { name: www, type: A, value: [10.0.0.1, 10.0.0.2] }
    - { regexp: '^x', type: TXT, value: hello }
- { Name: crc.testing., Records: [{ Name: host, IP: 192.168.127.254 }], DefaultIP: 192.168.127.2 }
`);
    expect(await ask('dns zones set', zones)).toEqual({
      code: 0,
      out: 'corp.example: 2 records\ncrc.testing.: 1 records\n',
      err: '',
    });
    const { lab } = api;
    const resolve = (name: string) => lab.run(lab.guest.resolve(name, 'A'));
    expect(await resolve('www.corp.example')).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(await resolve('any.crc.testing')).toEqual(['192.168.127.2']);
    const { out } = await ask('dns zones');
    expect(out.split('\n').map((line) => line.trim().split(/ +/).join(' '))).toEqual([
      'ZONE NAME TYPE VALUE',
      'corp.example www A 10.0.0.1',
      'corp.example www A 10.0.0.2',
      'corp.example /^x/ TXT hello',
      'crc.testing. host A 192.168.127.254',
      'crc.testing. (all others) A 192.168.127.2',
      '',
    ]);
    const json = (await ask('dns zones', '--json')).out.split('\n')[0]!;
    expect(JSON.parse(json)).toMatchObject({
      name: 'corp.example',
      records: [{ name: 'www' }, { regexp: '^x' }],
    });
    expect(await ask('dns zones set', file(json), '--json')).toMatchObject({ code: 0 });
    expect(await ask('dns zones remove', 'corp.example')).toMatchObject({
      code: 0,
      out: 'corp.example was removed\n',
    });
    expect(await ask('dns zones remove', 'corp.example')).toMatchObject({
      code: 1,
      err: 'netproxy: there is no zone corp.example.\n',
    });
  });

  it.each([
    ['name: a..b', 'a..b'],
    ['{ name: z, records: [{ name: a, type: A, value: nonsense }] }', 'is no value of a A record'],
    ['{ Name: z., Records: [{ Name: a }] }', 'is not complete'],
    ['{ name: z, colour: red }', 'unknown key'],
    ['[', 'cannot read zones'],
  ])('refuse %s', async (text, why) => {
    expect(await ask('dns zones set', file(text))).toMatchObject({
      code: 2,
      err: expect.stringContaining(why) as string,
    });
  });
});

describe('netproxy dns explain', () => {
  it('tells each step of a running netproxy', async () => {
    expect(await ask('dns explain', 'gateway.docker.internal')).toEqual({
      code: 0,
      out: 'policy    allowed\nbuiltin * built-in names and guests\nnoError\n  gateway.docker.internal 60 A 192.168.127.1\n',
      err: '',
    });
    const { out } = await ask('dns explain', 'localhost', 'aaaa', '--json');
    expect(JSON.parse(out)).toMatchObject({
      type: 'AAAA',
      steps: [
        { source: 'policy', answers: false },
        { source: 'builtin', answers: true },
      ],
      rcode: 'noError',
    });
    expect(await ask('dns explain', 'a.example', 'NOTYPE')).toMatchObject({ code: 2 });
  });

  it('goes by the file alone', async () => {
    const config = file(
      JSON.stringify({
        version: 1,
        dns: {
          zones: [{ name: 'corp.example', records: [{ name: 'www', type: 'A', value: '10.0.0.1' }] }],
        },
      }),
    );
    const { code, out } = await netproxy('dns', 'explain', 'www.corp.example', 'MX', '--config', config);
    expect({ code, out }).toEqual({
      code: 0,
      out: 'policy    allowed\nbuiltin   built-in names and guests\nzone    * corp.example\nnoError\n',
    });
  });

  it('says which names the policy denies', async () => {
    const config = file(JSON.stringify({ version: 1, policy: { rules: ['deny *.evil.example'] } }));
    const { code, out } = await netproxy('dns', 'explain', 'www.evil.example', '--config', config);
    expect({ code, out }).toEqual({ code: 0, out: 'policy  * denied\nrefused\n' });
  });
});

describe('netproxy dns log', () => {
  it('tells what guests were answered', async () => {
    const { lab } = api;
    await lab.run(lab.guest.resolve('gateway.docker.internal', 'A'));
    const { code, out } = await ask('dns log', '--guest', 'guest1', '--last', '200');
    expect(code).toBe(0);
    expect(out.split('\n')[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} guest1 gateway\.docker\.internal A: noError \(1\) by builtin, \d+\.\d ms$/,
    );
    const [first] = (await ask('dns log', '--json')).out.split('\n');
    expect(JSON.parse(first!)).toMatchObject({
      guest: 'guest1',
      type: 'A',
      source: 'builtin',
      rcode: 0,
      answers: 1,
    });
    expect((await ask('dns log', '--guest', 'nobody')).out).toBe('');
  });

  it('goes on as it happens', async () => {
    const { lab } = api;
    const client = connectApi({ address: api.address });
    const stop = new AbortController();
    const log = client.dnsLog({ signal: stop.signal });
    const next = log.next();
    // The stream stands once its headers are there; questions are asked until one is told.
    let told = false;
    void next.then(() => (told = true));
    while (!told) {
      await lab.run(lab.guest.resolve('gateway.docker.internal', 'A'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await next).value).toMatchObject({ name: 'gateway.docker.internal', guest: 'guest1' });
    stop.abort();
    await log.next().catch(() => undefined);
    client.close();
  });
});
