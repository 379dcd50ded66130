/** A connection with a guest as a Node Duplex: for services of the gateway, for `dial` and `listen` of the library. */
import { NetproxyError, formatIpv4 } from '../core/index.js';
import { type TcpApplication, TcpDuplex, type TcpEndpoint } from '../stack/index.js';
import type { TcpEnd } from '../tcp/index.js';

const END_ERRORS: Readonly<Record<TcpEnd, { readonly errno: string; readonly text: string } | undefined>> = {
  closed: undefined,
  reset: { errno: 'ECONNRESET', text: 'the guest reset the connection' },
  aborted: { errno: 'ECONNABORTED', text: 'the connection was aborted' },
  timeout: { errno: 'ETIMEDOUT', text: 'the guest did not answer' },
};

export class GuestStream extends TcpDuplex implements TcpApplication {
  private held: TcpEndpoint | undefined;

  /** The connection; set once, before or after the stream's user began to read and write. */
  get endpoint(): TcpEndpoint {
    if (this.held === undefined)
      throw new NetproxyError('ERR_NETPROXY_STATE', 'the connection has not begun');
    return this.held;
  }

  set endpoint(endpoint: TcpEndpoint) {
    this.held = endpoint;
    this.begin(endpoint);
  }

  /** The guest's address. */
  get remoteAddress(): string {
    return formatIpv4(this.endpoint.remoteIp);
  }

  get remotePort(): number {
    return this.endpoint.remotePort;
  }

  /** The address that we play. */
  get localAddress(): string {
    return formatIpv4(this.endpoint.localIp);
  }

  get localPort(): number {
    return this.endpoint.localPort;
  }

  /** The connection for another application, when it is `releasable`. */
  release(successor: TcpApplication): { readonly endpoint: TcpEndpoint; readonly ended: boolean } {
    const { endpoint } = this;
    endpoint.application = successor;
    return { endpoint, ended: this.letGo() };
  }

  // -- from the stack ------------------------------------------------------------------------------------------

  established(): void {
    this.emit('connect');
  }

  gone(end: TcpEnd): void {
    const known = END_ERRORS[end];
    if (known === undefined) {
      this.finish(undefined);
      return;
    }
    const { errno, text } = known;
    const message = `${this.remoteAddress}:${this.remotePort}: ${text}`;
    this.finish(new NetproxyError('ERR_NETPROXY_DIAL', message, { errno }));
  }

  // -- for TcpDuplex -------------------------------------------------------------------------------------------

  protected get side(): TcpEndpoint | undefined {
    return this.held;
  }

  protected brokenPipe(): Error {
    return new NetproxyError('ERR_NETPROXY_DIAL', 'the connection is closed', { errno: 'EPIPE' });
  }
}
