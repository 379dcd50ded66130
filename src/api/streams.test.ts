/** Answers that go on: events and captures, and clients that do not read. */
import { IncomingMessage, ServerResponse, request } from 'node:http';
import { Socket, connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiEvent, connectApi } from '../client/index.js';
import { type ApiLab, apiLab } from './api.testutil.js';
import { eventSchema } from './schemas.js';
import { MAX_QUEUED, MAX_STREAMS, REMEMBERED, drained } from './streams.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
});
afterEach(() => api[Symbol.asyncDispose]());

/** Opens a stream; the response is not read. */
function open(where: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath: api.socketPath, path: where, agent: false, headers }, resolve)
      .once('error', reject)
      .end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  return text;
}

/** Reads until the text holds something. */
async function until(response: IncomingMessage, wanted: string): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk as string;
    if (text.includes(wanted)) break;
  }
  return text;
}

const warn = (message: string): void => void api.lab.network.emit('warning', message);

describe('events', () => {
  it('come as they happen, each as its schema says', async () => {
    const client = connectApi({ address: api.address });
    const seen: ApiEvent[] = [];
    const stop = new AbortController();
    const reading = (async () => {
      for await (const event of client.events({ last: REMEMBERED, signal: stop.signal })) {
        seen.push(eventSchema.parse(event));
        if (event.event === 'warning') break;
      }
    })();
    const port = await client.publish('127.0.0.1:0:80');
    await client.unpublish(port.id);
    await api.lab.attach({ name: 'two' });
    await client.detach('two');
    warn('the last one');
    await reading;
    expect(seen.map(({ event }) => event)).toEqual([
      'published',
      'unpublished',
      'attached',
      'lease',
      'detached',
      'warning',
    ]);
    expect(seen[3]).toMatchObject({ kind: 'bound', hostname: 'two', guest: expect.any(String) as string });
    client.close();
  });

  it('are chosen by type, and those that happened can be asked for', async () => {
    for (let n = 0; n < REMEMBERED + 10; n++) warn(`w${n}`);
    const last = await textOf(await open('/v1/events?last=2&follow=false'));
    expect(last.match(/w\d+/g)).toEqual([`w${REMEMBERED + 8}`, `w${REMEMBERED + 9}`]);
    expect(last).toMatch(/^id: \d+\nevent: warning\ndata: \{.*\}\n\n/);
    const all = await textOf(await open(`/v1/events?last=${REMEMBERED}&follow=false`));
    expect(all.match(/^data: /gm)).toHaveLength(REMEMBERED);
    expect(await textOf(await open(`/v1/events?last=9&follow=false&types=lease,attached`))).toBe('');
    for (const bad of ['types=x', 'types=', 'last=-1', `last=${REMEMBERED + 1}`, 'follow=no'])
      expect((await api.ask(`GET /v1/events?${bad}`)).status).toBe(400);
  });

  it('go on behind the one that a client saw last', async () => {
    for (let n = 1; n <= 5; n++) warn(`w${n}`);
    const all = await textOf(await open('/v1/events?last=5&follow=false'));
    const third = /id: (\d+)\n.*\n.*w3/.exec(all)?.[1] ?? '';
    const rest = await textOf(await open('/v1/events?follow=false', { 'last-event-id': third }));
    expect(rest.match(/w\d/g)).toEqual(['w4', 'w5']);
  });

  it('wait for nobody: who reads too slowly is told and let go', async () => {
    const slow = await open('/v1/events');
    const quick = await open('/v1/events');
    const seen = until(quick, 'the end');
    // More than the queue and what sockets hold.
    const text = 'x'.repeat(MAX_QUEUED / 8);
    for (let n = 0; n < 40; n++) {
      warn(text);
      await new Promise((resolve) => setImmediate(resolve));
    }
    warn('the end');
    expect((await seen).match(/^data: /gm)?.length).toBeGreaterThan(40);
    const got = await textOf(slow);
    expect(got).toContain('event: dropped\ndata: ');
    expect(got).not.toContain('the end');
    expect(got.match(/^data: /gm)!.length).toBeLessThan(30);
  });

  it('have a limit of streams, and room again', async () => {
    const all = await Promise.all(Array.from({ length: MAX_STREAMS }, () => open('/v1/events')));
    expect(await api.ask('GET /v1/events')).toMatchObject({ status: 503, body: { status: 503 } });
    expect(await api.ask('GET /v1/capture')).toMatchObject({ status: 503 });
    for (const one of all) one.destroy();
    for (let tries = 0; ; tries++) {
      const response = await open('/v1/events');
      response.destroy();
      if (response.statusCode === 200) break;
      expect(tries).toBeLessThan(100);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  it('have no HEAD', async () => {
    expect(await api.ask('HEAD /v1/events')).toMatchObject({ status: 405, headers: { allow: 'GET' } });
  });

  it('end when the API does', async () => {
    const response = await open('/v1/events');
    const text = textOf(response);
    api.api.close();
    expect(await text).toBe('');
  });
});

describe('captures', () => {
  /** Names of the interfaces and lengths of the frames, by direction. */
  function readCapture(bytes: Buffer) {
    const names: string[] = [];
    const frames: { readonly direction: number; readonly length: number }[] = [];
    for (let at = 0; at + 12 <= bytes.length;) {
      const type = bytes.readUInt32LE(at);
      const total = bytes.readUInt32LE(at + 4);
      if (at + total > bytes.length) break;
      if (type === 1) names.push(bytes.toString('utf8', at + 20, at + 20 + bytes.readUInt16LE(at + 18)));
      if (type === 6)
        frames.push({ direction: bytes.readUInt32LE(at + total - 12), length: bytes.readUInt32LE(at + 20) });
      at += total;
    }
    return { names, frames };
  }

  it('show the frames of all guests, also of those that come, until the client goes', async () => {
    const { lab } = api;
    const response = await open('/v1/capture');
    expect(response.headers['content-type']).toBe('application/x-pcapng');
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    const two = await lab.attach({ name: 'two' });
    await lab.run(lab.guest.ping(lab.gateway, { size: 999 }));
    await lab.run(two.ping(lab.gateway, { size: 555 }));
    for (let tries = 0; readCapture(Buffer.concat(chunks)).frames.length < 6 && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const { names, frames } = readCapture(Buffer.concat(chunks));
    expect(names).toEqual(['guest1 memory', 'two memory']);
    expect(frames).toEqual(
      expect.arrayContaining([
        { direction: 1, length: 42 + 999 },
        { direction: 2, length: 42 + 999 },
        { direction: 1, length: 42 + 555 },
        { direction: 2, length: 42 + 555 },
      ]),
    );
    response.destroy();
    for (let tries = 0; lab.network.guests().some(({ sink }) => sink !== undefined); tries++) {
      expect(tries).toBeLessThan(100);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(lab.network.guests().every(({ link, port }) => port.output === link.output)).toBe(true);
    expect(await lab.run(lab.guest.ping(lab.gateway))).toBeGreaterThanOrEqual(0);
  });

  it('are of one guest where it is named, and there is 404 for one that is not there', async () => {
    expect(await api.ask('GET /v1/capture?guest=nobody')).toMatchObject({ status: 404 });
    await api.lab.attach({ name: 'two' });
    const response = await open('/v1/capture?guest=two');
    expect(api.lab.network.guests().map(({ sink }) => sink !== undefined)).toEqual([false, true]);
    response.destroy();
  });

  it('that nobody reads hold up nobody', async () => {
    const { lab } = api;
    lab.host.accept('198.51.100.1', (socket) => socket.resume());
    const response = await open('/v1/capture');
    const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
    const sent = 12 * 1024 * 1024;
    socket.write(Buffer.alloc(sent));
    await lab.clock.runUntil(() => lab.network.flows()[0]?.bytesToHost === sent, 600_000);
    response.destroy();
  });
});

describe('whoever waits for a reader', () => {
  it('leaves no listener behind, though the response lives long', async () => {
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    for (const event of ['drain', 'close', 'drain', 'drain']) {
      const waiting = drained(response);
      response.emit(event);
      await waiting;
    }
    expect(response.eventNames().filter((name) => name === 'drain')).toEqual([]);
    expect(response.listenerCount('close')).toBe(0);
  });

  it('writes nothing to a capture that the API has ended', async () => {
    const { lab } = api;
    lab.host.accept('198.51.100.1', (socket) => socket.resume());
    const response = await open('/v1/capture');
    const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
    socket.write(Buffer.alloc(12 * 1024 * 1024));
    await lab.clock.runUntil(() => lab.network.flows()[0]!.bytesToHost > 4 * 1024 * 1024, 600_000);
    const ended = new Promise((resolve) => response.once('close', resolve));
    response.once('error', () => undefined);
    // What waits in the capture is written behind the end: an error of the response would end the process.
    api.api.close();
    response.resume();
    await ended;
    await lab.clock.settle();
  });
});

describe('a client that never ends its request', () => {
  it('holds up nobody', async () => {
    const socket = connect(api.socketPath);
    socket
      .on('error', () => undefined)
      .write(
        'POST /v1/ports HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{',
      );
    expect(await api.ask('GET /v1/health')).toMatchObject({ status: 200 });
    socket.destroy();
  });

  it('and one whose body is too long gets 413', async () => {
    const long = { spec: 'x'.repeat(70_000) };
    expect(await api.ask('POST /v1/ports', long)).toMatchObject({
      status: 413,
      headers: { connection: 'close' },
    });
  });
});
