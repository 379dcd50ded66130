/** One name server as the upstream knows it: how it does, and the ways to it, opened when they are needed. */
import type { Millis } from '../core/index.js';
import { QuerySockets, type OpenDatagrams } from './dns-datagrams.js';
import { ServerHealth } from './dns-health.js';
import { QueryHttps } from './dns-https.js';
import { QueryStreams, type Asker, type StreamOptions } from './dns-streams.js';
import type { DnsServerAddress } from './resolver-files.js';

export class ServerState {
  readonly address: DnsServerAddress;
  /** As it is told: `10.0.0.53`, `tls://9.9.9.9`. */
  readonly label: string;
  readonly health = new ServerHealth();
  readonly sockets: QuerySockets;
  private readonly options: StreamOptions;
  private own: Asker | undefined;

  constructor(address: DnsServerAddress, openDatagrams: OpenDatagrams, options: StreamOptions) {
    this.address = address;
    this.label = labelOf(address);
    this.options = options;
    this.sockets = new QuerySockets(address, openDatagrams);
  }

  /** Whether queries may go by UDP. */
  get plain(): boolean {
    return this.address.kind === undefined;
  }

  /** TCP, TLS or HTTPS, whichever it is. */
  get stream(): Asker {
    this.own ??=
      this.address.kind === 'https'
        ? new QueryHttps(this.address, this.options)
        : new QueryStreams(this.address, this.options);
    return this.own;
  }

  closeUnused(since: Millis): void {
    this.sockets.closeUnused(since);
  }

  close(): void {
    this.sockets.close();
    this.own?.close();
    this.own = undefined;
  }
}

export function labelOf({ kind, host, port, name, path }: DnsServerAddress): string {
  if (kind === undefined) return port === 53 ? host : `${host}#${port}`;
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return `${kind}://${place}${path ?? ''}${name === undefined ? '' : `#${name}`}`;
}
