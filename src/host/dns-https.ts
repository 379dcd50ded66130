/** Queries over HTTPS to one name server (RFC 8484): POST on one HTTP/2 connection that is kept while it is used. */
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import type { Millis } from '../core/index.js';
import { isAnswerTo } from '../dns/index.js';
import type { AskDone, Asker, Asking, StreamOptions } from './dns-streams.js';
import type { DnsServerAddress } from './resolver-files.js';

const TYPE = 'application/dns-message';
const IDLE: Millis = 10_000;
const MAX_BODY = 65_535;

export class QueryHttps implements Asker {
  private readonly server: DnsServerAddress;
  private readonly options: StreamOptions;
  private session: ClientHttp2Session | undefined;

  constructor(server: DnsServerAddress, options: StreamOptions = {}) {
    this.server = server;
    this.options = options;
  }

  ask(query: Uint8Array, done: AskDone): Asking {
    // RFC 8484 section 4.1: id 0, so that caches on the way see equal questions.
    const asked = query.slice();
    asked.fill(0, 0, 2);
    let over = false;
    const finish = (answer: Uint8Array | Error): void => {
      if (over) return;
      over = true;
      done(answer);
    };
    const stream = this.connected().request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: this.server.path ?? '/dns-query',
      [constants.HTTP2_HEADER_ACCEPT]: TYPE,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: TYPE,
    });
    const chunks: Buffer[] = [];
    let length = 0;
    let fine = false;
    stream.on('response', (headers) => {
      fine = headers[':status'] === 200 && headers['content-type'] === TYPE;
      if (!fine) finish(new Error(`the server answered ${String(headers[':status'])} by HTTPS`));
    });
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BODY) stream.close(constants.NGHTTP2_CANCEL);
      else chunks.push(chunk);
    });
    stream.on('error', finish);
    stream.on('close', () => {
      const answer = Buffer.concat(chunks);
      if (fine && length <= MAX_BODY && isAnswerTo(answer, asked)) finish(answer);
      else finish(new Error('no DNS answer by HTTPS'));
    });
    stream.end(asked);
    return {
      cancel: () => {
        over = true;
        stream.close(constants.NGHTTP2_CANCEL);
      },
    };
  }

  close(): void {
    this.session?.destroy();
    this.session = undefined;
  }

  private connected(): ClientHttp2Session {
    const known = this.session;
    if (known && !known.closed && !known.destroyed) return known;
    const { host, port, name } = this.server;
    const authority = `${name ?? (host.includes(':') ? `[${host}]` : host)}${port === 443 ? '' : `:${port}`}`;
    const servername = name === undefined ? {} : { servername: name };
    const trust = this.options.ca === undefined ? {} : { ca: this.options.ca };
    const session = connectHttp2(`https://${authority}`, {
      createConnection: () =>
        connectTls({ host, port, ALPNProtocols: ['h2'], ...servername, ...trust }).setNoDelay(true),
    });
    session.on('error', () => undefined);
    session.setTimeout(IDLE, () => {
      session.close();
    });
    const forget = (): void => {
      if (this.session === session) this.session = undefined;
    };
    session.on('close', forget);
    session.on('goaway', forget);
    session.unref();
    this.session = session;
    return session;
  }
}
