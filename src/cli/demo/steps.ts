/** The steps of the demo: each does one thing through the guest and says in a line how it went. */
import type { Network } from '../../index.js';
import { formatBytes, formatDuration, formatRate } from '../../observe/index.js';
import { type DemoGuest, GREETING, GUEST_PORT, type Transfer } from './guest.js';
import type { DemoServers } from './servers.js';

export interface Scene {
  readonly network: Network;
  readonly guest: DemoGuest;
  readonly servers: DemoServers;
  /** The address by which the guest reaches the servers: their own, or the host alias. */
  readonly target: string;
  readonly bytes: number;
  /** GET on the host's side. */
  readonly get: (url: string) => Promise<string>;
}

export interface Step {
  readonly name: string;
  /** What it is about, for a failure's line. */
  readonly title: string;
  /** The line of success; rejects with the reason of a failure. */
  readonly run: (scene: Scene) => Promise<string>;
}

const DATAGRAMS = 20;

export const STEPS: readonly Step[] = [
  {
    name: 'lease',
    title: 'lease',
    run: async ({ guest }) => {
      const started = performance.now();
      const ip = await guest.lease();
      return `lease ${ip} in ${formatDuration(performance.now() - started)}`;
    },
  },
  {
    name: 'ping',
    title: 'ping of the gateway',
    run: async ({ guest, network }) => {
      const { gateway } = network.addresses;
      return `gateway ${gateway} answers a ping in ${formatDuration(await guest.ping(gateway))}`;
    },
  },
  {
    name: 'dns',
    title: 'name',
    run: async ({ guest, network }) => {
      const name = 'host.netproxy.internal';
      const started = performance.now();
      const ip = await guest.resolve(name);
      const took = formatDuration(performance.now() - started);
      if (ip !== network.addresses.hostAlias)
        throw new Error(`${name} is ${ip}, expected ${network.addresses.hostAlias ?? 'nothing'}`);
      return `name ${name} is ${ip} in ${took}`;
    },
  },
  {
    name: 'refused',
    title: 'closed port',
    run: async ({ guest, servers, target }) => {
      const ms = await guest.refused(target, servers.closed);
      return `closed port ${target}:${servers.closed} refused in ${formatDuration(ms)}`;
    },
  },
  {
    name: 'down',
    title: 'download',
    run: async (scene) => {
      const { bytes, guest, servers, target } = scene;
      const expected = await digest(scene);
      return moved('down', expected, await guest.download(target, servers.http, bytes));
    },
  },
  {
    name: 'up',
    title: 'upload',
    run: async (scene) => {
      const { bytes, guest, servers, target } = scene;
      const expected = await digest(scene);
      return moved('up', expected, await guest.upload(target, servers.http, bytes));
    },
  },
  {
    name: 'udp',
    title: 'UDP',
    run: async ({ guest, servers, target }) => {
      const back = await guest.udp(target, servers.udp, DATAGRAMS);
      if (back < DATAGRAMS) throw new Error(`${back} of ${DATAGRAMS} datagrams came back`);
      return `UDP ${back} of ${DATAGRAMS} datagrams came back`;
    },
  },
  {
    name: 'publish',
    title: 'published port',
    run: async ({ guest, network, get }) => {
      await guest.serve(GUEST_PORT, GREETING);
      const published = await network.publish(`127.0.0.1:0:${GUEST_PORT}`);
      const started = performance.now();
      const text = await get(`http://127.0.0.1:${published.port}/`);
      const took = formatDuration(performance.now() - started);
      published.close();
      if (text !== GREETING) throw new Error(`the guest said ${JSON.stringify(text.slice(0, 80))}`);
      return `published port 127.0.0.1:${published.port} leads to the guest's ${GUEST_PORT}: "${text.trim()}" in ${took}`;
    },
  },
];

/** What the test bytes must have, as `BYTES SHA256` of the servers. */
async function digest({ bytes, get, servers }: Scene): Promise<string> {
  return (await get(`http://${servers.address}:${servers.http}/digest/${bytes}`)).trim();
}

function moved(way: 'up' | 'down', expected: string, { bytes, ms, sha256 }: Transfer): string {
  const got = `${bytes} ${sha256}`;
  if (got !== expected) throw new Error(`${got} arrived, expected ${expected}`);
  return `${formatBytes(bytes)} ${way} at ${formatRate(bytes, ms)}, sha256 ok`;
}
