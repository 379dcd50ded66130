/**
 * The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt, sections 2.1 and 2.2): who the client of a published
 * port is, told to the guest's service before the client's first byte.
 */
import { addressBytes } from '../core/index.js';
import type { ProxyProtocol } from './publish-options.js';

/** One end of a connection. */
export interface ProxyEnd {
  readonly host: string;
  readonly port: number;
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 2, and the commands. */
const LOCAL = 0x20;
const PROXY = 0x21;
/** Address families with STREAM. */
const TCP4 = 0x11;
const TCP6 = 0x21;

/**
 * The header for a connection from `client` to `server`, which is where it was accepted. Where either is not known, or they
 * are of two families (unix sockets have no address), it says so: UNKNOWN in version 1, LOCAL in version 2.
 */
export function proxyHeader(
  version: ProxyProtocol,
  client: ProxyEnd | undefined,
  server: ProxyEnd | undefined,
): Uint8Array {
  const from = client && endBytes(client);
  const to = server && endBytes(server);
  const known = from !== undefined && to?.length === from.length;
  if (version === 'v1') {
    const family = from?.length === 4 ? 'TCP4' : 'TCP6';
    const line = known
      ? `PROXY ${family} ${plain(client!)} ${plain(server!)} ${client!.port} ${server!.port}`
      : 'PROXY UNKNOWN';
    return new TextEncoder().encode(`${line}\r\n`);
  }
  if (!known) return Uint8Array.from([...SIGNATURE, LOCAL, 0, 0, 0]);
  const ports = [client!.port >>> 8, client!.port & 255, server!.port >>> 8, server!.port & 255];
  const body = [...from, ...to, ...ports];
  return Uint8Array.from([
    ...SIGNATURE,
    PROXY,
    from.length === 4 ? TCP4 : TCP6,
    body.length >>> 8,
    body.length & 255,
    ...body,
  ]);
}

/** Without the zone of a link-local address, which is of this host only. */
function plain({ host }: ProxyEnd): string {
  return host.replace(/%.*$/, '');
}

function endBytes(end: ProxyEnd): Uint8Array | undefined {
  return addressBytes(plain(end));
}
