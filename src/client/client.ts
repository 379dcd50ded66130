/** The endpoints of the control API as methods. Each rejects with a `NetproxyError` of the code that the server says. */
import type { ApiFlow, ApiHealth, ApiVersion } from '../api/index.js';
import { NetproxyError } from '../core/index.js';
import { parseDoor } from '../link/index.js';
import { defaultApiAddress } from './address.js';
import { type Ask, Transport } from './transport.js';

export interface ClientOptions {
  /** `unix:/PATH` or `tcp:HOST:PORT`. Default: `defaultApiAddress()`. */
  readonly address?: string | undefined;
  /** TCP needs one. */
  readonly token?: string | undefined;
}

export interface FlowFilter {
  readonly guest?: string | undefined;
  readonly protocol?: 'tcp' | 'udp' | undefined;
  readonly direction?: 'out' | 'in' | undefined;
  readonly state?: string | undefined;
  /** An address, or address:port. */
  readonly peer?: string | undefined;
  /** With what `ss -ti` shows. */
  readonly tcp?: boolean | undefined;
}

/** A client of one control API. Connections are made as they are needed. */
export class ApiClient {
  private readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  version(): Promise<ApiVersion> {
    return this.get('/v1/version');
  }

  health(): Promise<ApiHealth> {
    return this.get('/v1/health');
  }

  /** All flows that fit, page by page. */
  flows(filter: FlowFilter = {}): AsyncGenerator<ApiFlow> {
    return this.pages('/v1/flows', filter);
  }

  flow(id: number): Promise<ApiFlow> {
    return this.get(`/v1/flows/${id}`);
  }

  /** Ends a flow; rejects when there is none of that id. */
  async killFlow(id: number): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/flows/${id}` });
  }

  /** Closes idle connections. */
  close(): void {
    this.transport.close();
  }

  private get<T>(path: string, query?: object): Promise<T> {
    return this.ask<T>({ path, ...(query === undefined ? {} : { query }) });
  }

  /** The server's answers have the types that its schemas say: they were made from one table. */
  private async ask<T>(ask: Ask): Promise<T> {
    return (await this.transport.json(ask)) as T;
  }

  private async *pages<T>(path: string, filter: object): AsyncGenerator<T> {
    let after: number | undefined;
    do {
      const page = await this.get<{ items: T[]; next?: number }>(path, { ...filter, after });
      yield* page.items;
      after = page.next;
    } while (after !== undefined);
  }
}

/** A client; nothing is connected yet. Throws ERR_NETPROXY_CONFIG. */
export function connectApi(options: ClientOptions = {}): ApiClient {
  const address = options.address ?? defaultApiAddress();
  if (address === undefined) {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', 'it is not known where the control API is', {
      remedy: 'Name its address, for example unix:/run/user/1000/netproxy.sock; XDG_RUNTIME_DIR is not set.',
    });
  }
  return new ApiClient(new Transport(parseDoor(address), options.token));
}
