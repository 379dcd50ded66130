/** nginx in the guest, and who it sees of the clients of published ports: by their addresses, and by the PROXY protocol. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Lab } from './lab.js';
import { GATEWAY, HOST_ALIAS, kernelGuest, scenarioReady } from './scenario.js';

const ready = scenarioReady('preserved sources', 'nginx', 'socat', 'ss');
const CLIENTS = 100;
const AT = '198.18.0.1';
const DRIVER = join(dirname(fileURLToPath(import.meta.url)), 'many-clients.mjs');

interface Client {
  readonly host: string;
  readonly port: number;
  readonly from?: string;
}

/** Ports of nginx: 80 says who connects, 81 who the PROXY protocol says it is. */
function nginxConfig(lab: Lab): string {
  const folder = lab.path('nginx');
  mkdirSync(folder);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const file = lab.path('nginx.conf');
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
     events { worker_connections 1024; }
     http {
       access_log off; default_type text/plain;
       ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
       server { listen 80 backlog=1024; location / { return 200 "$remote_addr $remote_port"; } }
       server {
         listen 81 proxy_protocol;
         location / { return 200 "$proxy_protocol_addr $proxy_protocol_port to $proxy_protocol_server_port"; }
       }
     }\n`,
  );
  return file;
}

describe.runIf(ready)('nginx in the guest', () => {
  let lab: Lab;

  beforeAll(async () => {
    const specs = [
      '*:8080:80,preserve-source',
      '*:8081:81,proxy-protocol=v1',
      '*:8082:81,proxy-protocol=v2',
      `${AT}:5353:53/udp,preserve-source`,
    ];
    ({ lab } = await kernelGuest(
      [...specs.flatMap((spec) => ['--publish', spec]), '--default-policy', 'deny'],
      { lab: { addresses: CLIENTS } },
    ));
    lab.spawn(lab.guest, ['nginx', '-c', nginxConfig(lab)], { stdin: 'ignore' });
    const namer = `const s = require('node:dgram').createSocket('udp4');
      s.bind(53).on('message', (_, { address, port }) => s.send(address + ' ' + port, port, address));`;
    lab.spawn(lab.guest, [process.execPath, '-e', namer], { stdin: 'ignore' });
    await until(20_000, 'nginx and the UDP service', async () => {
      const listening = await lab.check(lab.guest, ['ss', '-Hlntu']);
      return /:80\b/.test(listening) && /:81\b/.test(listening) && /:53\b/.test(listening);
    });
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const ask = async (clients: readonly Client[]): Promise<string[]> => {
    const argv = [process.execPath, DRIVER, JSON.stringify(clients)];
    return JSON.parse(await lab.check(lab.host, argv, { timeoutMs: 60_000 })) as string[];
  };

  it(`sees ${CLIENTS} clients at once, each with its own address`, async () => {
    const clients = lab.addresses.map((from) => ({ host: AT, port: 8080, from }));
    const seen = await ask(clients);
    expect(seen.map((line) => line.split(' ')[0])).toEqual(lab.addresses);
  });

  it('sees the host alias for loopback', async () => {
    const [first, second] = await ask([
      { host: '127.0.0.1', port: 8080 },
      { host: '::1', port: 8080 },
    ]);
    expect([first, second].map((line) => line?.split(' ')[0])).toEqual([HOST_ALIAS, HOST_ALIAS]);
    expect(GATEWAY).not.toBe(HOST_ALIAS);
  });

  it.each([
    ['version 1', 8081],
    ['version 2', 8082],
  ])('reads the PROXY protocol, %s', async (_version, port) => {
    const from = lab.address(7);
    const [v4, v6, own] = await ask([
      { host: AT, port, from },
      { host: '::1', port },
      { host: '127.0.0.1', port },
    ]);
    expect(v4).toMatch(new RegExp(`^${from} \\d+ to ${port}$`));
    expect(v6).toMatch(new RegExp(`^::1 \\d+ to ${port}$`));
    expect(own).toMatch(new RegExp(`^127\\.0\\.0\\.1 \\d+ to ${port}$`));
  });

  it('a UDP service sees its clients, and its answers reach them', async () => {
    for (const [n, port] of [4001, 4002].entries()) {
      const from = lab.address(n + 1);
      const script = `const s = require('node:dgram').createSocket('udp4');
        s.bind(${port}, '${from}', () => s.send('hello', 5353, '${AT}'));
        s.once('message', (text) => { process.stdout.write(text); s.close(); });`;
      const answer = await lab.check(lab.host, [process.execPath, '-e', script], { timeoutMs: 30_000 });
      expect(answer.trim()).toBe(`${from} ${port}`);
    }
  });

  it('reaches nothing but its clients: a connection of its own to the same address is denied', async () => {
    const { code, stderr } = await lab.exec(lab.guest, [
      'socat',
      '-u',
      `TCP4:${lab.address(7)}:9,connect-timeout=5`,
      '-',
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/refused|prohibited|No route|unreachable/i);
  });
});
