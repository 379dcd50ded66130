/** Fetches a small text by http or https over connections that are made elsewhere; no proxy is asked. */
import { type IncomingMessage, request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Millis } from '../core/index.js';

/** Bytes of a text. */
export const MAX_TEXT = 1 << 20;
const MAX_REDIRECTS = 5;
/** For all of it. */
const PATIENCE: Millis = 20_000;

export interface FetchDeps {
  /** A connection, with TLS where `secure`. */
  connect(host: string, port: number, secure: boolean, signal: AbortSignal): Promise<Duplex>;
  readonly patience?: Millis | undefined;
}

/** The text of a URL. Rejects with an error whose message says why there is none. */
export async function fetchText(url: string, deps: FetchDeps): Promise<string> {
  const signal = AbortSignal.timeout(deps.patience ?? PATIENCE);
  let at = new URL(url);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const answer = await get(at, deps, signal);
    const { statusCode = 0, headers } = answer;
    if (statusCode === 200) return textOf(answer);
    answer.destroy();
    if (statusCode < 300 || statusCode > 399 || headers.location === undefined)
      throw new Error(`${at.host} answered ${statusCode}`);
    at = new URL(headers.location, at);
    if (at.protocol !== 'http:' && at.protocol !== 'https:')
      throw new Error(`${at.protocol} is not followed`);
  }
  throw new Error(`more than ${MAX_REDIRECTS} redirections`);
}

async function get(url: URL, deps: FetchDeps, signal: AbortSignal): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  const stream = await deps.connect(host, port, secure, signal);
  const user = decodeURIComponent(`${url.username}:${url.password}`);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => stream,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, accept: '*/*', 'user-agent': 'netproxy', connection: 'close' },
      ...(user === ':' ? {} : { auth: user }),
      signal,
    });
    request.once('response', resolve);
    request.once('error', (error) => {
      stream.destroy();
      reject(signal.aborted ? new Error('no answer in time') : error);
    });
    request.end();
  });
}

/** Its body, MAX_TEXT bytes at most. */
async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_TEXT) {
      answer.destroy();
      throw new Error(`it is larger than ${MAX_TEXT} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
