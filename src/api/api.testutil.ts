/** A network on a fake host with its control API on a real socket, and the plain requests that anybody can make. */
import { mkdtempSync, rmSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestNetwork, testNetwork } from '../testing/index.js';
import { type Api, type ApiHost, createApi } from './index.js';

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Of a JSON body. */
  readonly body: unknown;
}

/** One request on a connection of its own. */
export function ask(options: RequestOptions, body?: string | Uint8Array): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request({ agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('error', reject);
      response.on('end', () => {
        const isJson = /json$/.test(response.headers['content-type'] ?? '') && text !== '';
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          body: isJson ? (JSON.parse(text) as unknown) : undefined,
        });
      });
    });
    sent.once('error', reject).end(body);
  });
}

export interface ApiLab extends AsyncDisposable {
  readonly lab: TestNetwork;
  readonly api: Api;
  readonly folder: string;
  /** The address of the door with full rights. */
  readonly address: string;
  readonly socketPath: string;
  /** `GET /v1/health`, `DELETE /v1/flows/1`; an object is sent as JSON. */
  ask(line: string, body?: object): Promise<Reply>;
}

export async function apiLab(host: ApiHost = {}, token?: string): Promise<ApiLab> {
  const folder = mkdtempSync(path.join(tmpdir(), 'np-api-'));
  const lab = await testNetwork();
  const api = createApi(lab.network, host, token);
  const socketPath = path.join(folder, 'api');
  const address = await api.listen(`unix:${socketPath}`);
  return {
    lab,
    api,
    folder,
    address,
    socketPath,
    ask: (line, body) => {
      const [method = '', where = ''] = line.split(' ');
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      return ask(
        { socketPath, method, path: where, headers },
        body === undefined ? undefined : JSON.stringify(body),
      );
    },
    [Symbol.asyncDispose]: async () => {
      api.close();
      await lab.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
