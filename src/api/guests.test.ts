/** What a guest gets from the control API at port 80 of the gateway: what the policy grants it, and nothing else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ScriptedGuest } from '../testing/index.js';
import { type ApiLab, apiLab } from './api.testutil.js';
import { ROUTES } from './routes.js';
import { MAX_OF_GUEST } from './server.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
  api.api.serveGuests();
});
afterEach(() => api[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** One request of a guest, on a connection of its own. */
async function ask(guest: ScriptedGuest, line: string, body?: object): Promise<Answer> {
  const socket = await api.lab.run(guest.connect(api.lab.gateway, 80));
  const text = body === undefined ? '' : JSON.stringify(body);
  const type = body === undefined ? '' : 'content-type: application/json\r\n';
  let got = '';
  let ended = false;
  socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
  socket.once('close', () => (ended = true));
  socket.once('end', () => (ended = true));
  socket.on('error', () => undefined);
  socket.write(
    `${line} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n${type}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  // Answers are made in real time, frames travel in virtual time.
  while (!ended) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await api.lab.clock.advance(5);
  }
  socket.destroy();
  const json = /\r\n\r\n(?:[\da-f]+\r\n)?([{[][^]*[}\]])/.exec(got)?.[1];
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(got)?.[1]),
    body: json === undefined ? undefined : (JSON.parse(json) as unknown),
  };
}

describe('a guest at the control API', () => {
  it('gets nothing without a rule, whatever the default', async () => {
    const { guest } = api.lab;
    for (const { method, path } of ROUTES) {
      const line = `${method} ${path.replaceAll(/\{\w+\}/g, '1')}`;
      expect((await ask(guest, line)).status, line).toBe(403);
    }
    expect(api.lab.network.policy.rules()).toEqual([]);
    const denied = [...api.lab.network.policy.decisions()];
    expect(denied.every(({ protocol, verdict }) => protocol === 'api' && verdict === 'deny')).toBe(true);
  });

  it('gets what rules grant: itself and its flows, not those of others', async () => {
    const { lab } = api;
    const other = await lab.attach({ name: 'other' });
    lab.network.policy.add('allow api:self@guest1');
    lab.network.policy.add('allow api:status');
    expect((await ask(lab.guest, 'GET /v1/version')).body).toMatchObject({ rights: 'guest' });
    expect(await ask(lab.guest, 'GET /v1/guests')).toMatchObject({
      status: 200,
      body: { items: [{ name: 'guest1' }] },
    });
    const mine = await ask(lab.guest, 'GET /v1/guests/guest1');
    expect(mine).toMatchObject({ status: 200, body: { name: 'guest1' } });
    expect((await ask(lab.guest, 'GET /v1/guests/other')).status).toBe(403);
    expect((await ask(other, 'GET /v1/guests/other')).status).toBe(403);
    lab.host.echoUdp('*');
    other.udp().send('x', '198.51.100.1', 7);
    await lab.clock.advance(100);
    expect(lab.network.flows()).toHaveLength(1);
    expect(await ask(lab.guest, 'GET /v1/flows')).toMatchObject({ status: 200, body: { items: [] } });
    expect((await ask(lab.guest, 'GET /v1/flows?guest=other')).body).toEqual({ items: [] });
    expect((await ask(lab.guest, 'DELETE /v1/flows/1')).status).toBe(403);
  });

  it('publishes its own ports, where it may, and sees and withdraws no others', async () => {
    const { lab } = api;
    await lab.attach({ name: 'other' });
    const theirs = await lab.network.publish('other@127.0.0.1:9000:80');
    lab.network.policy.add('deny api:publish:8001');
    lab.network.policy.add('allow api:publish:8000-8009@guest1');
    const publish = (spec: string) => ask(lab.guest, 'POST /v1/ports', { spec });
    expect(await publish('127.0.0.1:8000:80')).toMatchObject({
      status: 201,
      body: { target: 'guest1', port: 8000, id: 2 },
    });
    for (const spec of [
      '127.0.0.1:8001:80',
      '127.0.0.1:8010:80',
      '127.0.0.1:0:80',
      '0.0.0.0:8002:80',
      '*:8002:80',
      'other@127.0.0.1:8002:80',
      '127.0.0.1:8002:192.168.127.3:80',
      'unix:/tmp/guest.sock:80',
    ])
      expect((await publish(spec)).status, spec).toBe(403);
    expect((await ask(lab.guest, 'GET /v1/ports')).body).toMatchObject({ items: [{ id: 2 }] });
    expect((await ask(lab.guest, `GET /v1/ports/${theirs.id}`)).status).toBe(404);
    expect((await ask(lab.guest, `DELETE /v1/ports/${theirs.id}`)).status).toBe(404);
    expect((await ask(lab.guest, 'DELETE /v1/ports/2')).status).toBe(204);
    expect(lab.network.ports().map(({ id }) => id)).toEqual([theirs.id]);
  });

  it('has so many connections at once, and no more', async () => {
    const { lab } = api;
    const sockets = [];
    for (let n = 0; n <= MAX_OF_GUEST; n++) {
      const socket = await lab.run(lab.guest.connect(lab.gateway, 80));
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    await lab.clock.advance(100);
    expect(sockets.map(({ destroyed }) => destroyed)).toEqual([...sockets.slice(1).map(() => false), true]);
    for (const socket of sockets) socket.destroy();
    await lab.clock.advance(100);
    expect((await ask(lab.guest, 'GET /v1/version')).status).toBe(403);
  });

  it('finds nobody there when it is not served', async () => {
    await using bare = await apiLab();
    const refused = bare.lab.guest.connect(bare.lab.gateway, 80);
    await expect(bare.lab.run(refused)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
