/** The doors of the control API: who gets in, with which rights, and what hostile clients get. */
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiLab, type Reply, apiLab, ask } from './api.testutil.js';
import { MAX_BODY, createApi, readToken } from './index.js';

const TOKEN = 'a-token-of-some-length';
let api: ApiLab;
beforeAll(async () => {
  api = await apiLab({}, TOKEN);
});
afterAll(() => api[Symbol.asyncDispose]());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Sends bytes as they are; resolves with all that comes back until the server closes. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(api.socketPath);
    let seen = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (seen += chunk));
    socket.once('close', () => resolve(seen));
    socket.once('error', reject);
    socket.end(text, 'latin1');
  });
}

describe('a unix socket', () => {
  it('is for its user alone', () => {
    expect(statSync(api.socketPath).mode & 0o777).toBe(0o600);
  });

  it('asks for no token, and gives full rights', async () => {
    expect((await api.ask('GET /v1/version')).body).toMatchObject({
      name: 'netproxy',
      api: 1,
      rights: 'full',
    });
  });

  it('for looking only refuses to change anything', async () => {
    const socketPath = path.join(api.folder, 'read');
    await api.api.listen(`unix:${socketPath}`, { rights: 'read' });
    const get = (method: string, where: string): Promise<Reply> => ask({ socketPath, method, path: where });
    expect(await get('GET', '/v1/flows')).toMatchObject({ status: 200 });
    expect((await get('GET', '/v1/version')).body).toMatchObject({ rights: 'read' });
    expect(await get('DELETE', '/v1/flows/1')).toMatchObject({
      status: 403,
      headers: { 'content-type': 'application/problem+json' },
      body: { title: 'Forbidden', code: 'ERR_NETPROXY_API', remedy: expect.any(String) as string },
    });
  });
});

describe('TCP', () => {
  it('is not listened on without a token', async () => {
    await expect(api.api.listen('tcp:127.0.0.1:0')).rejects.toMatchObject({
      code: 'ERR_NETPROXY_CONFIG',
      remedy: expect.stringContaining('--token-file') as string,
    });
  });

  it('wants the token', async () => {
    const address = await api.api.listen('tcp:127.0.0.1:0', { token: TOKEN });
    const port = Number(address.split(':').at(-1));
    expect(port).toBeGreaterThan(0);
    const get = (headers: Record<string, string>): Promise<Reply> =>
      ask({ host: '127.0.0.1', port, path: '/v1/health', headers });
    expect(await get(bearer(TOKEN))).toMatchObject({ status: 200 });
    for (const headers of [
      {},
      bearer('no'),
      bearer(`${TOKEN}x`),
      { authorization: 'Basic eDp5' },
      bearer(''),
    ]) {
      expect(await get(headers)).toMatchObject({
        status: 401,
        headers: { 'www-authenticate': 'Bearer realm="netproxy"' },
        body: { status: 401 },
      });
    }
  });

  it('names who holds the port', async () => {
    const address = await api.api.listen('tcp:127.0.0.1:0', { token: TOKEN });
    await expect(api.api.listen(address, { token: TOKEN })).rejects.toMatchObject({
      code: 'ERR_NETPROXY_LISTEN',
      message: expect.stringMatching(/address already in use \(.+, pid \d+\)/) as string,
    });
  });
});

describe('behind a link', () => {
  async function link(
    address: string,
  ): Promise<(where: string, headers?: Record<string, string>) => Promise<Reply>> {
    const { network } = api.lab;
    network.control = (socket) => api.api.serve(socket);
    const listener = await network.listenLinks('connect', address);
    const place = listener.address.startsWith('unix:')
      ? { socketPath: listener.address.slice(5) }
      : { host: '127.0.0.1', port: Number(listener.address.split(':').at(-1)) };
    return (where, headers = {}) => ask({ ...place, path: where, headers });
  }

  it('anybody may ask for version and health on a unix socket, and nothing else without the token', async () => {
    const get = await link(`unix:${path.join(api.folder, 'link')}`);
    expect((await get('/v1/version')).body).toMatchObject({ rights: 'status' });
    expect(await get('/v1/health')).toMatchObject({ status: 200 });
    expect(await get('/v1/flows')).toMatchObject({ status: 403 });
    expect(await get('/v1/flows', bearer(TOKEN))).toMatchObject({ status: 200 });
    expect(await get('/v1/flows', bearer('wrong'))).toMatchObject({ status: 401 });
  });

  it('nobody gets anything over TCP without the token', async () => {
    const get = await link('tcp:127.0.0.1:0');
    expect(await get('/v1/version')).toMatchObject({ status: 401 });
    expect(await get('/v1/flows', bearer(TOKEN))).toMatchObject({ status: 200 });
  });
});

describe('a server of somebody else', () => {
  it('mounts the handler', async () => {
    const server = createServer(createApi(api.lab.network).handler('read'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const get = (method: string, where: string): Promise<Reply> =>
      ask({ host: '127.0.0.1', port, method, path: where });
    expect(await get('GET', '/v1/flows')).toMatchObject({ status: 200 });
    expect(await get('DELETE', '/v1/flows/1')).toMatchObject({ status: 403 });
    server.close();
  });
});

describe('the token file', () => {
  it('is made with 256 random bits, for its user alone, and kept', () => {
    const file = path.join(api.folder, 'token');
    const token = readToken(file, true);
    expect(token).toMatch(/^[\w-]{43}$/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readToken(file, true)).toBe(token);
    expect(readFileSync(file, 'utf8')).toBe(`${token}\n`);
  });

  it.each([
    ['others may read it', TOKEN, 0o640, /other users/],
    ['it is empty', '', 0o600, /no token/],
    ['it is too short', 'short', 0o600, /no token/],
    ['it holds more than a token', 'x'.repeat(2000), 0o600, /no token/],
    ['it holds a space', `${TOKEN} ${TOKEN}`, 0o600, /no token/],
  ])('is refused when %s', (_, text, mode, why) => {
    const file = path.join(api.folder, `bad-${mode}-${text.length}`);
    writeFileSync(file, text);
    chmodSync(file, mode);
    expect(() => readToken(file)).toThrow(why);
  });

  it('is refused when it is not there', () => {
    expect(() => readToken(path.join(api.folder, 'none'))).toThrow(/ENOENT/);
    expect(() => readToken(path.join(api.folder, 'no/where'), true)).toThrow(/ENOENT/);
  });
});

describe('hostile requests', () => {
  it.each([
    ['GET /', 404],
    ['GET /v1', 404],
    ['GET /v1/', 404],
    ['GET /v1/flows/', 400],
    ['GET /v1/flows/0', 400],
    ['GET /v1/flows/-1', 400],
    ['GET /v1/flows/1e3', 400],
    ['GET /v1/flows/%', 400],
    ['GET /v1/flows/1%2f2', 400],
    ['GET /v1/flows/1&x=2', 400],
    ['GET /v1/flows/99999999999999999999', 400],
    ['GET /v1/flows/999', 404],
    ['DELETE /v1/flows/999', 404],
    ['GET /v1/../v1/flows', 404],
    ['GET //v1/flows', 404],
    ['GET /v1/flows?limit=0', 400],
    ['GET /v1/flows?limit=1&limit=2', 400],
    ['GET /v1/flows?limit=10001', 400],
    ['GET /v1/flows?limit=ten', 400],
    ['GET /v1/flows?after=-1', 400],
    ['GET /v1/flows?bogus=1', 400],
    ['GET /v1/flows?__proto__=1', 400],
    ['GET /v1/flows?constructor=1', 400],
    ['GET /v1/flows?tcp=maybe', 400],
    ['GET /v1/flows?protocol=sctp', 400],
    ['GET /v1/health?x=1', 400],
    ['POST /v1/flows', 405],
    ['OPTIONS /v1/flows', 405],
    ['PATCH /v1/version', 405],
  ])('%s is %d', async (line, status) => {
    const reply = await api.ask(line);
    expect(reply).toMatchObject({
      status,
      headers: { 'content-type': 'application/problem+json' },
      body: { type: 'about:blank', status, detail: expect.any(String) as string },
    });
    if (status === 405) expect(reply.headers['allow']).toContain('GET');
  });

  it('say what is wrong and what is allowed', async () => {
    expect((await api.ask('GET /v1/flows?limit=0')).body).toMatchObject({
      detail: 'query: limit: 0 is not allowed; allowed: a whole number of items, 1 to 10,000',
    });
    expect((await api.ask('GET /v1/flows?x=1')).body).toMatchObject({
      detail: expect.stringContaining('x: unknown key') as string,
    });
  });

  it('are no HTTP: closed with 400', async () => {
    for (const text of ['\0\0\0\0\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'VMN3T'.repeat(10)])
      expect(await raw(text)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('have a head that is too large: 431', async () => {
    expect(await raw(`GET /v1/health HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`)).toMatch(
      / 431 /,
    );
  });

  it('send a body that nobody wants', async () => {
    const headers = { 'content-length': MAX_BODY * 4 };
    const reply = await ask(
      { socketPath: api.socketPath, path: '/v1/health', headers },
      Buffer.alloc(MAX_BODY * 4),
    );
    expect(reply.status).toBe(200);
  });

  it('answers HEAD without a body', async () => {
    for (const where of ['/v1/health', '/v1/flows'])
      expect(await api.ask(`HEAD ${where}`)).toMatchObject({ status: 200, text: '' });
  });
});
