/** Requests to a control API, and its refusals as errors. */
import { Agent, type IncomingMessage, request } from 'node:http';
import type { ProblemBody } from '../api/index.js';
import { NetproxyError } from '../core/index.js';
import { type DoorAddress, formatLinkAddress } from '../link/index.js';

/** How long a server may be silent within an answer, ms. */
const TIMEOUT = 30_000;

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: object;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** A stream may be silent for as long as it likes. */
  readonly stream?: boolean;
}

export class Transport {
  private readonly address: DoorAddress;
  private readonly token: string | undefined;
  private readonly agent = new Agent({ keepAlive: true });

  constructor(address: DoorAddress, token: string | undefined) {
    this.address = address;
    this.token = token;
  }

  /** Resolves with an answer of success, unread. Rejects with what the server refused, or ERR_NETPROXY_DIAL. */
  async open(ask: Ask): Promise<IncomingMessage> {
    const response = await this.send(ask);
    if ((response.statusCode ?? 500) < 400) return response;
    throw refusalOf(response.statusCode ?? 500, await textOf(response));
  }

  /** The same with its JSON body; undefined where there is none. */
  async json(ask: Ask): Promise<unknown> {
    const text = await textOf(await this.open(ask));
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }

  close(): void {
    this.agent.destroy();
  }

  private send({ method = 'GET', path, query, body, signal, stream = false }: Ask): Promise<IncomingMessage> {
    const { address, token } = this;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const place =
      address.transport === 'unix'
        ? { socketPath: address.path }
        : { host: address.host, port: address.port };
    return new Promise((resolve, reject) => {
      const sent = request({
        ...place,
        agent: stream ? false : this.agent,
        method,
        path: `${path}${queryText(query)}`,
        headers: {
          host: 'netproxy',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
        ...(signal === undefined ? {} : { signal }),
        ...(stream ? {} : { timeout: TIMEOUT }),
      });
      sent.once('timeout', () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
      sent.once('error', (error: NodeJS.ErrnoException) => {
        reject(error.name === 'AbortError' ? error : unreachable(address, error));
      });
      sent.once('response', resolve);
      sent.end(text);
    });
  }
}

function queryText(query: object | undefined): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString()}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk as string;
  return text;
}

function refusalOf(status: number, text: string): NetproxyError {
  let body: Partial<ProblemBody>;
  try {
    body = JSON.parse(text) as Partial<ProblemBody>;
  } catch {
    return new NetproxyError(
      'ERR_NETPROXY_API',
      `the server answered with status ${status}; it is no netproxy`,
    );
  }
  const { detail = `status ${status}`, code = 'ERR_NETPROXY_API', remedy, errno } = body;
  return new NetproxyError(code, detail, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(errno === undefined ? {} : { errno }),
  });
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'it belongs to another user',
  ETIMEDOUT: 'it does not answer',
};

function unreachable(address: DoorAddress, error: NodeJS.ErrnoException): NetproxyError {
  const { code, message } = error;
  return new NetproxyError(
    'ERR_NETPROXY_DIAL',
    `no netproxy at ${formatLinkAddress(address)}: ${WHY[code ?? ''] ?? message}`,
    {
      cause: error,
      ...(code === undefined ? {} : { errno: code }),
      remedy:
        code === 'EACCES'
          ? 'Run this as the user who runs netproxy.'
          : 'Start netproxy serve with --services ADDRESS, and name the same address here.',
    },
  );
}
