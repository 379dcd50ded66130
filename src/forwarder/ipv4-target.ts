import { type Ipv4, formatIpv4 } from '../core/index.js';

/**
 * The kernel bounds the memory of all TCP sockets together (tcp_mem), and each may hold megabytes that a guest does not take: of a
 * guest with this many connections, those that come now hold the less the more there are. Bytes of SO_RCVBUF, of which Linux takes
 * twice as much for its own accounting.
 */
export const MANY_FLOWS = 128;
const SHARED_BUFFER = 32 << 20;
const LEAST_BUFFER = 16 << 10;

/** Where the host connects to for a guest. Its text is made when somebody wants it: the addon's dials do without. */
export class Ipv4Target {
  readonly kind = 'tcp';
  readonly ip: Ipv4;
  readonly port: number;
  readonly receiveBuffer: number | undefined;

  /** `flows`: those of the guest; where there are many each new one may hold less there. */
  constructor(ip: Ipv4, port: number, flows: number) {
    this.ip = ip;
    this.port = port;
    this.receiveBuffer =
      flows < MANY_FLOWS ? undefined : Math.max(Math.trunc(SHARED_BUFFER / flows), LEAST_BUFFER);
  }

  get host(): string {
    return formatIpv4(this.ip);
  }
}
