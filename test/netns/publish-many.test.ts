/** Published ports in numbers: clients at once, ports at once, ports that come and go under traffic, two that want one. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { CLI } from '../support/requirements.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('many published ports');
const AT = '198.18.0.1';
const CLIENTS = count(1000, 10_000);
const WANTED = count(1000, 65_535);
/** A descriptor for each port; the rest is for everything else. */
const DESCRIPTORS = Number(
  /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1],
);
const PORTS = Math.min(WANTED, DESCRIPTORS - 4096);
if (PORTS < WANTED)
  process.stderr.write(
    `published ports: ${PORTS} instead of ${WANTED}: ${DESCRIPTORS} descriptors are allowed here\n`,
  );
const STORM = count(25, 1000);
const BYTES = count(50_000_000, 2_000_000_000);
/** Ports of one request, at most. */
const RANGE = 10_000;
const PATIENCE = count(60_000, 600_000);
const here = dirname(fileURLToPath(import.meta.url));
const driver = (name: string): string[] => [process.execPath, join(here, name)];

interface Port {
  readonly id: number;
  readonly host: string;
}

describe.runIf(ready)('published ports', () => {
  let lab: Lab;
  let netproxy: Netproxy;
  let api: string;

  beforeAll(async () => {
    lab = await Lab.create({ addresses: 8 });
    api = `unix:${lab.path('api')}`;
    const specs = [`${AT}:10080:80`, `${AT}:10082:82`].flatMap((spec) => ['--publish', spec]);
    netproxy = await serveTap(lab, ['--services', api, ...specs]);
    await lab.dhcp();
    await lab.serve(
      {
        web: { kind: 'http', address: '0.0.0.0', port: 80 },
        source: { kind: 'tcp-source', address: '0.0.0.0', port: 82, bytes: BYTES, offset: 3 },
      },
      lab.guest,
    );
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const clients = async (n: number): Promise<string[]> => {
    const wanted = Array.from({ length: n }, (_, i) => ({
      host: AT,
      port: 10_080,
      from: lab.address(i % 8),
    }));
    const options = { timeoutMs: PATIENCE, input: JSON.stringify(wanted) };
    return JSON.parse(await lab.check(lab.host, [...driver('many-clients.mjs'), '-'], options)) as string[];
  };
  const ask = (...words: string[]): Promise<string> =>
    lab.check(lab.host, [process.execPath, CLI, ...words, '--api', api], { timeoutMs: PATIENCE });

  it('take 64 clients that come together', async () => {
    expect((await clients(64)).filter((body) => !body.includes('hello'))).toEqual([]);
  });

  it(`carry ${CLIENTS} connections at once`, { timeout: PATIENCE }, async () => {
    expect((await clients(CLIENTS)).filter((body) => !body.includes('hello'))).toEqual([]);
  });

  it(`are ${PORTS} at once, each of which leads into the guest`, { timeout: PATIENCE }, async () => {
    const before = netproxy.fds();
    for (let first = 1; first <= PORTS; first += RANGE) {
      const range = `${first}-${Math.min(first + RANGE - 1, PORTS)}`;
      await ask('publish', `198.18.0.8:${range}:${range}`);
    }
    const listed = (await ask('ports', '--json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Port);
    const mine = listed.filter(({ host }) => host === '198.18.0.8');
    expect(mine).toHaveLength(PORTS);
    const body = await lab.check(lab.host, ['curl', '-sS', '-m', '30', 'http://198.18.0.8:80/']);
    expect(body).toContain('hello');
    const ids = mine.map(({ id }) => `id:${id}`);
    for (let at = 0; at < ids.length; at += 1000) await ask('unpublish', ...ids.slice(at, at + 1000));
    expect(netproxy.fds()).toBeLessThan(before + 50);
  });

  it('come and go in a storm, and those that stay carry what they carry', { timeout: PATIENCE }, async () => {
    const busy = lab.startClient({ mode: 'download', address: AT, port: 10_082 }, lab.host);
    const argv = [...driver('publish-storm.mjs'), api, String(STORM)];
    const storm = JSON.parse(await lab.check(lab.host, argv, { timeoutMs: PATIENCE })) as Record<
      string,
      unknown
    >;
    const { published, withdrawn, taken, other } = storm;
    expect(other).toEqual([]);
    expect(withdrawn).toBe(published);
    expect(Number(published) + Number(taken)).toBe(8 * STORM);
    expect(await lab.clientResult(busy, PATIENCE)).toMatchObject({ sha256: digestOf(BYTES, 3), how: 'fin' });
    expect((await ask('ports', '--json')).trim().split('\n')).toHaveLength(2);
  });

  it('two that want one: one has it, the other one hears who', async () => {
    const other = `unix:${lab.path('other')}`;
    const second = await lab.startNetproxy(['serve', '--services', other, '--subnet', '192.168.66.0/24']);
    const want = (door: string) =>
      lab.exec(lab.host, [process.execPath, CLI, 'publish', '127.0.0.1:7777:80', '--api', door]);
    const answers = await Promise.all([want(api), want(other)]);
    expect(answers.map(({ code }) => code).sort()).toEqual([0, 3]);
    const holder = answers[0].code === 0 ? netproxy.pid : second.pid;
    const refused = answers.find(({ code }) => code === 3);
    expect(refused?.stderr).toContain('address already in use');
    expect(refused?.stderr).toContain(`pid ${holder}`);
    await second.proc.kill();
  });
});
