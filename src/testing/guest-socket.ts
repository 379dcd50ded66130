/** A guest's connection as a Node stream. */
import { formatIpv4 } from '../core/index.js';
import { TcpDuplex, type TcpSide } from '../stack/index.js';
import type { TcpInfo } from '../tcp/index.js';
import type { GuestConnection } from './guest-connection.js';
import { GuestError } from './guest-error.js';

/**
 * A TCP connection of a `ScriptedGuest`. `end` sends FIN and leaves the other half open; `reset`, and `destroy` before both
 * halves have ended, send RST. The peer's RST is an error with the code ECONNRESET.
 *
 * @example
 * const socket = await guest.connect('192.168.127.254', 8080);
 * socket.end('GET / HTTP/1.0\r\n\r\n');
 * for await (const chunk of socket) process.stdout.write(chunk);
 */
export class GuestSocket extends TcpDuplex {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  private readonly held: GuestConnection;

  constructor(connection: GuestConnection, localAddress: string) {
    super();
    this.held = connection;
    this.localAddress = localAddress;
    this.localPort = connection.localPort;
    this.remoteAddress = formatIpv4(connection.remoteIp);
    this.remotePort = connection.remotePort;
    // A reset that a test does not care about must not end its process; `for await` and `pipeline` see it all the same.
    this.on('error', () => undefined);
  }

  /** The connection in numbers, as `ss -ti` shows it. */
  info(): TcpInfo {
    return this.held.connection.info();
  }

  /** Sends RST. Emits no error. */
  reset(): void {
    this.held.abort();
    this.lost();
  }

  // -- from the connection -------------------------------------------------------------------------------------

  gone(error: GuestError | undefined): void {
    this.finish(error);
  }

  /** The machine lost its power: no error, no end. */
  lost(): void {
    this.abandon();
    this.destroy();
  }

  // -- for TcpDuplex -------------------------------------------------------------------------------------------

  protected get side(): TcpSide {
    return this.held;
  }

  protected brokenPipe(): Error {
    return new GuestError('EPIPE', `${this.remoteAddress}:${this.remotePort}`);
  }
}
