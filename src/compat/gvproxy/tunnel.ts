/** `POST /tunnel?ip=&port=`: a connection of the control socket becomes one with a port of a guest. */
import type { Duplex } from 'node:stream';
import { parseIpv4 } from '../../core/index.js';
import type { Network } from '../../index.js';
import { parsePort } from '../go-values.js';
import { plainResponse } from '../http.js';
import { splice } from '../splice.js';

/** With what such a connection begins. */
export const TUNNEL = 'POST /tunnel';

/**
 * Takes over a connection whose request has this head. `OK` is written when the guest has accepted; where it does not, the
 * connection ends without it.
 */
export function openTunnel(network: Network, socket: Duplex, head: string): void {
  const target = targetOf(head);
  if (typeof target === 'string') {
    socket.end(plainResponse('500 Internal Server Error', target));
    return;
  }
  splice(socket, network.dial({ ip: target.ip }, target.port), 'OK');
}

function targetOf(head: string): { readonly ip: string; readonly port: number } | string {
  const [, query = ''] = /^POST \/tunnel(?:\?(\S*))? HTTP\/1\.[01]$/.exec(head.split('\r\n')[0] ?? '') ?? [];
  const parameters = new URLSearchParams(query);
  const ip = parameters.get('ip') ?? '';
  if (ip === '') return 'ip is mandatory';
  const text = parameters.get('port') ?? '';
  if (!/^\d+$/.test(text)) return `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  if (parseIpv4(ip) === undefined) return 'invalid ip';
  try {
    const port = parsePort(text);
    return port === 0 ? 'invalid port' : { ip, port };
  } catch {
    return 'invalid port';
  }
}
