/** Why a port cannot be had, as Docker Desktop says it: docker prints it to its user. */
import { NetproxyError } from '../core/index.js';
import { GoError } from './go-values.js';

/** Where a port is outside, in vpnkit's words. */
export interface OuterPort {
  readonly proto: string;
  readonly out_ip?: string;
  readonly out_port?: number;
  readonly out_path?: string;
}

export const outside = ({ out_ip, out_port, out_path }: OuterPort): string =>
  out_path ?? `${out_ip?.includes(':') === true ? `[${out_ip}]` : (out_ip ?? '0.0.0.0')}:${out_port ?? 0}`;

/** `Ports are not available: listen tcp 0.0.0.0:80: address already in use (nginx, pid 812)`. */
export function bindError(port: OuterPort, error: unknown): Error {
  if (!(error instanceof NetproxyError)) return error as Error;
  const why = error.message.replace(/^cannot (?:publish (?:tcp|udp)|listen on) \S+: /, '').replace(/\.$/, '');
  const remedy = error.errno === 'EADDRINUSE' || error.remedy === undefined ? '' : `. ${error.remedy}`;
  return new GoError(`Ports are not available: listen ${port.proto} ${outside(port)}: ${why}${remedy}`);
}
