/**
 * gvproxy's table of forwards: `protocol/local` is the key, the addresses stay as they were written. Each is a published port
 * of the network.
 *
 * Limits: MAX_FORWARDS in all, MAX_OF_GUEST of those that one guest asked for.
 */
import { type Logger, NetproxyError, parseIpv4 } from '../../core/index.js';
import type { PublishSpec } from '../../forwarder/index.js';
import type { Network } from '../../index.js';
import { GoError, parsePort, quoted, splitHostPort } from '../go-values.js';
import type { SshForwardSpec } from '../../link/index.js';
import { SshForward } from '../ssh-forward.js';

export const MAX_FORWARDS = 131_072;
export const MAX_OF_GUEST = 1024;

export interface ForwardView {
  readonly local: string;
  readonly remote: string;
  readonly protocol: string;
}

interface Forward extends ForwardView {
  /** Address of the guest that asked for it. */
  readonly guest: string | undefined;
  /** Undefined while it is being opened. */
  close: (() => void) | undefined;
}

const key = ({ protocol, local }: { protocol: string; local: string }): string => `${protocol}/${local}`;

export class Forwarder {
  private readonly network: Network;
  private readonly logger: Logger;
  private readonly forwards = new Map<string, Forward>();

  constructor(network: Network, logger: Logger) {
    this.network = network;
    this.logger = logger;
  }

  /** Closes all. */
  close(): void {
    for (const one of this.forwards.values()) one.close?.();
    this.forwards.clear();
  }

  /** All, or those of a guest, as the API lists them: by local address, then by protocol. */
  list(guest?: string): ForwardView[] {
    return [...this.forwards.values()]
      .filter((one) => one.close !== undefined && (guest === undefined || one.guest === guest))
      .map(({ local, remote, protocol }) => ({ local, remote, protocol }))
      .sort((a, b) => compare(a.local, b.local) || compare(a.protocol, b.protocol));
  }

  /** Opens a forward; rejects with GoError. `guest`: the address of the guest that wants it. */
  async expose({ protocol, local, remote }: ForwardView, guest?: string): Promise<void> {
    const entry: Forward = { protocol, local, remote, guest, close: undefined };
    if (this.forwards.has(key(entry))) throw new GoError(`proxy already running for ${protocol} on ${local}`);
    if (this.forwards.size >= MAX_FORWARDS) throw new GoError(`${MAX_FORWARDS} proxies are running`);
    if (guest !== undefined && this.countOf(guest) >= MAX_OF_GUEST)
      throw new GoError(`${MAX_OF_GUEST} proxies of ${guest} are running`);
    const open = this.opener(entry);
    // Two of them at once must not both find the place free.
    this.forwards.set(key(entry), entry);
    try {
      const opened = await open();
      entry.close = () => {
        opened.close();
      };
    } catch (error) {
      this.forwards.delete(key(entry));
      throw listenError(entry, error);
    }
  }

  /** Closes one; throws GoError where there is none, or it is not this guest's. */
  unexpose(which: { readonly protocol: string; readonly local: string }, guest?: string): void {
    const entry = this.forwards.get(key(which));
    if (entry?.close === undefined || (guest !== undefined && entry.guest !== guest))
      throw new GoError('proxy not found');
    this.forwards.delete(key(which));
    entry.close();
  }

  /** What opens it; throws GoError where it cannot be meant. */
  private opener(entry: ForwardView): () => Promise<{ close(): void }> {
    if (entry.protocol === 'unix' && entry.remote.startsWith('ssh-tunnel:')) {
      const spec = tunnelOf(entry.remote, unixSide(entry.local).hostPath ?? '');
      return () => SshForward.open(this.network, spec, this.logger);
    }
    const spec = specOf(entry);
    // Its clients expose again what they need.
    return () => this.network.publish(spec, { keep: false });
  }

  private countOf(guest: string): number {
    let count = 0;
    for (const one of this.forwards.values()) if (one.guest === guest) count++;
    return count;
  }
}

/** As Go compares strings. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Throws GoError. */
function specOf({ protocol, local, remote }: ForwardView): PublishSpec {
  switch (protocol) {
    case 'tcp':
    case 'udp':
      return { protocol, ...guestSide(remote), ...hostSide(protocol, local) };
    case 'unix':
      return { protocol: 'tcp', ...guestSide(unixRemote(remote)), ...unixSide(local) };
    case 'npipe':
      throw new GoError('npipe is not supported on this platform');
    default:
      throw new GoError(`unknown protocol ${protocol}`);
  }
}

function guestSide(remote: string): Pick<PublishSpec, 'guestIp' | 'guestPort'> {
  const [ip = '', port = '', ...more] = remote.split(':');
  if (port === '' || more.length > 0) throw new GoError('invalid remote addr');
  const guestPort = parsePort(port);
  if (parseIpv4(ip) === undefined || guestPort === 0) throw new GoError('invalid remote addr');
  return { guestIp: ip, guestPort };
}

/** `ssh-tunnel://user@ip:port/path?key=/file`: a unix socket of the guest. */
function tunnelOf(remote: string, socket: string): SshForwardSpec {
  const url = URL.canParse(remote) ? new URL(remote) : undefined;
  if (url === undefined) throw new GoError(`failed to parse remote uri :${remote}`);
  const identity = url.searchParams.get('key') ?? '';
  if (identity === '') throw new GoError('key not provided for unix-ssh connection');
  if (url.searchParams.has('passphrase')) throw new GoError('keys with a passphrase are not supported');
  const dest = decoded(url.pathname);
  if (dest === '' || dest === '/') throw new GoError('remote uri must contain a path to a socket file');
  if (parseIpv4(url.hostname) === undefined) throw new GoError('invalid remote addr');
  const port = url.port === '' ? 22 : parsePort(url.port);
  return { socket, dest, identity, user: decoded(url.username), guest: url.hostname, port };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new GoError(`invalid URL escape in ${quoted(text)}`);
  }
}

/** The address behind tcp://. */
function unixRemote(remote: string): string {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i.exec(remote);
  const scheme = match?.[1] ?? '';
  if (scheme !== 'tcp') throw new GoError(`remote protocol for unix forwarder is not implemented: ${scheme}`);
  return match?.[2] ?? '';
}

function unixSide(local: string): Pick<PublishSpec, 'hostIp' | 'hostPort' | 'hostPath'> {
  const hostPath = local.replace(/^unix:\/\//, '');
  if (!hostPath.startsWith('/') || hostPath.includes('\0'))
    throw new GoError(`listen unix ${quoted(local)}: the path of a socket begins with a slash`);
  return { hostIp: '', hostPort: 0, hostPath };
}

function hostSide(protocol: string, local: string): Pick<PublishSpec, 'hostIp' | 'hostPort'> {
  let host: string;
  let hostPort: number;
  try {
    const split = splitHostPort(local);
    host = split.host;
    hostPort = parsePort(split.port);
  } catch (error) {
    throw new GoError(`listen ${protocol}: ${(error as Error).message}`);
  }
  // Go listens on all families where no address is said, and on :: for both.
  if (host === '' || host === '::') return { hostIp: '*', hostPort };
  if (host !== 'localhost' && parseIpv4(host) === undefined && !/^[\da-fA-F:.]*:[\da-fA-F:.]*$/.test(host))
    throw new GoError(`listen ${protocol}: lookup ${quoted(host)}: no such host`);
  return { hostIp: host, hostPort };
}

/** What the system said, in Go's form: clients look for "address already in use". */
function listenError({ protocol, local }: ForwardView, error: unknown): Error {
  if (!(error instanceof NetproxyError)) return error as Error;
  if (error.code !== 'ERR_NETPROXY_PUBLISH' && error.code !== 'ERR_NETPROXY_LISTEN')
    return Object.assign(new GoError(error.message), { cause: error });
  const why = error.message.replace(/^cannot publish (tcp|udp) \S+: /, '').replace(/\.$/, '');
  const taken = error.errno === 'EADDRINUSE' || error.errno === 'EEXIST';
  const words = taken && !why.includes('address already in use') ? `address already in use: ${why}` : why;
  const remedy = taken || error.remedy === undefined ? '' : `. ${error.remedy}`;
  return Object.assign(new GoError(`listen ${protocol} ${local}: bind: ${words}${remedy}`), { cause: error });
}
