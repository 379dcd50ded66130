/** `netproxy flows` and the client, against a network whose control API is on a real socket. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab } from '../api/api.testutil.js';
import { type ApiFlow, connectApi } from '../client/index.js';
import { netproxy } from './cli.testutil.js';

const SERVER = '198.51.100.1';
const FLOWS = 25;

let api: ApiLab;
beforeAll(async () => {
  api = await apiLab();
  const { lab } = api;
  lab.host.accept(SERVER, () => undefined);
  lab.host.blackhole('203.0.113.0/24');
  lab.host.echoUdp('*:7');
  for (let n = 0; n < FLOWS; n++) {
    const socket = await lab.run(lab.guest.connect(SERVER, 80 + n));
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(1000 * n));
  }
  lab.guest.connect('203.0.113.1', 80).catch(() => undefined);
  const udp = lab.guest.udp(5000);
  udp.send(Buffer.from('ping'), SERVER, 7);
  await lab.clock.advance(1000);
});
afterAll(() => api[Symbol.asyncDispose]());

const flows = (...args: string[]) => netproxy('flows', '--api', api.address, ...args);
const lines = (text: string): string[] => text.trimEnd().split('\n');

describe('netproxy flows', () => {
  it('lists what there is, in columns', async () => {
    const { code, out, err } = await flows();
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const [heading, ...rows] = lines(out);
    expect(heading).toMatch(/^ *ID +PROTO +DIR +GUEST +GUEST ADDRESS +PEER +STATE +TO HOST +TO GUEST +AGE$/);
    expect(rows).toHaveLength(FLOWS + 2);
    expect(rows[3]).toMatch(
      / tcp +out +guest1 +192\.168\.127\.2:\d+ +198\.51\.100\.1:83 +ESTABLISHED +3 kB +0 B +1(\.\d+)? s$/,
    );
    expect(out).toMatch(/203\.0\.113\.1:80 +DIALING/);
    expect(out).toMatch(/udp +out .* 198\.51\.100\.1:7 +REPLIED +4 B +4 B/);
  });

  it('shows TCP as ss -ti does', async () => {
    const { out } = await flows('--tcp', '--peer', `${SERVER}:84`);
    const [, row, details, ...rest] = lines(out);
    expect(row).toMatch(/ESTABLISHED/);
    expect(details).toMatch(
      /^ +ESTABLISHED cubic ts sack wscale:\d+,\d+ rto:\d+ rtt:[\d.]+\/[\d.]+ .*mss:1448 cwnd:\d+ .*bytes_received:4000/,
    );
    expect(rest).toEqual([]);
  });

  it('gives one JSON object per flow', async () => {
    const { out } = await flows('--json', '--tcp');
    const all = lines(out).map((line) => JSON.parse(line) as ApiFlow);
    expect(all).toHaveLength(FLOWS + 1);
    expect(all[4]).toMatchObject({
      protocol: 'tcp',
      bytesToHost: 4000,
      tcp: { state: 'ESTABLISHED', bytesIn: 4000 },
    });
  });

  it.each([
    [['--protocol', 'udp'], 1],
    [['--state', 'dialing'], 1],
    [['--peer', SERVER], FLOWS + 1],
    [['--guest', 'nobody'], 0],
  ])('%j fits %d', async (args, count) => {
    const { out } = await flows('--json', ...args);
    expect(out === '' ? [] : lines(out)).toHaveLength(count);
  });

  it('ends a flow on both sides, and says when there is none', async () => {
    const { lab } = api;
    const socket = await lab.run(lab.guest.connect(SERVER, 8080));
    const reset = new Promise((resolve) => socket.once('error', resolve));
    const [flow] = lines((await flows('--json', '--peer', `${SERVER}:8080`)).out).map(
      (line) => JSON.parse(line) as ApiFlow,
    );
    const id = String(flow?.id);
    const resets = lab.host.counters.resets;
    expect(await flows('--kill', id)).toEqual({ code: 0, out: `flow ${id} was ended\n`, err: '' });
    expect(await lab.run(reset)).toMatchObject({ code: 'ECONNRESET' });
    expect(lab.host.counters.resets).toBe(resets + 1);
    expect(await flows('--kill', id)).toEqual({
      code: 1,
      out: '',
      err: `netproxy: there is no flow ${id}; it may have ended.\n`,
    });
  });

  it('ends a dial and a UDP mapping', async () => {
    const { lab } = api;
    for (const filter of [
      ['--state', 'DIALING'],
      ['--protocol', 'udp'],
    ]) {
      const flow = JSON.parse((await flows('--json', ...filter)).out) as ApiFlow;
      expect(await flows('--json', '--kill', String(flow.id))).toMatchObject({
        code: 0,
        out: `{"killed":${flow.id}}\n`,
      });
      await lab.clock.advance(10);
      expect((await flows('--json', ...filter)).out).toBe('');
    }
  });

  it('says what to do where no netproxy is', async () => {
    const nowhere = path.join(api.folder, 'none');
    expect(await netproxy('flows', '--api', nowhere)).toEqual({
      code: 1,
      out: '',
      err: `netproxy: no netproxy at unix:${nowhere}: there is no such socket.\nStart netproxy serve with --services ADDRESS, and name the same address here.\n`,
    });
  });

  it.each([
    [['--api', 'fd:3'], '--api: the control API cannot be at "fd:3"'],
    [['--kill', 'x'], '--kill'],
    [['--protocol', 'icmp'], '--protocol: "icmp" is not allowed'],
    [['--token-file', '/no/such/file'], 'the token file /no/such/file'],
  ])('refuses %j', async (args, words) => {
    const { code, err } = await netproxy('flows', '--api', api.address, ...args);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });
});

describe('pages', () => {
  it('lead from one to the next, each item once', async () => {
    const ids: number[] = [];
    for (let after: number | undefined = 0; after !== undefined;) {
      const { body } = await api.ask(`GET /v1/flows?limit=7&after=${after}`);
      const page = body as { items: ApiFlow[]; next?: number };
      expect(page.items.length).toBeLessThanOrEqual(7);
      ids.push(...page.items.map(({ id }) => id));
      after = page.next;
    }
    expect(ids).toEqual(api.lab.network.flows().map(({ id }) => id));
    const client = connectApi({ address: api.address });
    const all: number[] = [];
    for await (const flow of client.flows()) all.push(flow.id);
    expect(all).toEqual(ids);
    client.close();
  });
});
