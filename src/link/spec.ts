/**
 * Where a link is, as text (flags, configuration). What stands alone listens; `connect:` in front dials.
 *
 *   unix:/run/vm.sock   unix:///run/vm.sock   /run/vm.sock      a unix socket
 *   tcp:127.0.0.1:5000  tcp://[::1]:5000                        TCP
 *   fd:3                                                        a listening socket inherited from the parent
 *   1024                vsock://:1024                           AF_VSOCK, listen on this port (any CID)
 *   3:1024              vsock://3:1024                          AF_VSOCK, dial this port of CID 3
 *   connect:unix:/run/vm.sock   connect:tcp:127.0.0.1:5000      dial instead of listening
 *
 * vfkit and bess are sockets of packets: they listen at a unix path and nowhere else.
 */
import { NetproxyError } from '../core/index.js';

/** Kinds of links that come in at an address. */
export const LISTEN_KINDS = ['qemu', 'vpnkit', 'connect', 'vsock', 'vfkit', 'bess'] as const;
export type ListenKind = (typeof LISTEN_KINDS)[number];
/** Those of packets instead of bytes. */
export type PacketKind = 'vfkit' | 'bess';

export type LinkAddress =
  | { readonly transport: 'unix'; readonly path: string }
  | { readonly transport: 'tcp'; readonly host: string; readonly port: number }
  | { readonly transport: 'fd'; readonly fd: number }
  /** `cid` undefined: any, to listen. */
  | { readonly transport: 'vsock'; readonly cid: number | undefined; readonly port: number };

export interface LinkSpec {
  readonly mode: 'listen' | 'connect';
  readonly address: LinkAddress;
}

/** What may stand for `vsock`, and for every other kind. */
const VSOCK_FORMS = 'PORT, CID:PORT, vsock://:PORT, vsock://CID:PORT';
const PACKET_FORMS = 'unix:/PATH, /PATH';
const FORMS = 'unix:/PATH, /PATH, tcp:HOST:PORT, fd:N, each of them but fd:N also behind connect:';

/** Longest path of a unix socket, bytes (sun_path without its NUL). */
export const UNIX_PATH_MAX = process.platform === 'linux' ? 107 : 103;

/** Parses the text; throws ERR_NETPROXY_CONFIG that names what is allowed. `vsock`: a bare number is a vsock port. */
export function parseLinkSpec(text: string, kind: ListenKind): LinkSpec {
  const dial = text.startsWith('connect:');
  const rest = dial ? text.slice('connect:'.length) : text;
  const address = parseVsock(rest, kind === 'vsock') ?? (kind === 'vsock' ? undefined : parseAddress(rest));
  if (address === undefined) throw badSpec(text, kind);
  if (isPacketKind(kind) && (dial || address.transport !== 'unix')) throw badSpec(text, kind);
  if (address.transport === 'vsock') {
    if (dial && address.cid === undefined) throw badSpec(text, kind, 'to dial, a CID is needed');
    return { mode: address.cid === undefined ? 'listen' : 'connect', address };
  }
  if (dial && address.transport === 'fd') {
    throw badSpec(text, kind, 'a descriptor that is connected already is attached with --fd N --framing');
  }
  if (address.transport === 'unix') checkPath(address.path);
  return { mode: dial ? 'connect' : 'listen', address };
}

/** Where the control API, or another server of the host, may be. */
export type DoorAddress = Extract<LinkAddress, { transport: 'unix' | 'tcp' }>;

/** Parses `unix:/PATH`, `/PATH` or `tcp:HOST:PORT`: the address of a control API, unless said. Throws ERR_NETPROXY_CONFIG. */
export function parseDoor(text: string, what = 'the control API', ...more: readonly string[]): DoorAddress {
  const address = text.startsWith('connect:') ? undefined : parseAddress(text);
  if (address === undefined || address.transport === 'fd' || address.transport === 'vsock') {
    const allowed = ['unix:/PATH', '/PATH', 'tcp:HOST:PORT', ...more];
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `${what} cannot be at "${text}"`, {
      remedy: `Allowed: ${allowed.join(', ')}.`,
    });
  }
  if (address.transport === 'unix') checkPath(address.path);
  return address;
}

/** Where a container engine is: at a door, or behind the vsock of a VM whose monitor offers it at a unix socket. */
export type EnginePlace =
  DoorAddress | { readonly transport: 'hybrid'; readonly path: string; readonly port: number };

/** Parses `unix:/PATH`, `/PATH`, `tcp:HOST:PORT` or `hybrid:/PATH:PORT`. Throws ERR_NETPROXY_CONFIG. */
export function parseEnginePlace(text: string): EnginePlace {
  const [, path, port] = /^hybrid:(\/.*):(\d{1,9})$/.exec(text) ?? [];
  if (path === undefined) return parseDoor(text, 'the engine', 'hybrid:/PATH:PORT');
  checkPath(path);
  return { transport: 'hybrid', path, port: Number(port) };
}

/** Whether a kind carries one frame per packet. */
export function isPacketKind(kind: ListenKind): kind is PacketKind {
  return kind === 'vfkit' || kind === 'bess';
}

/** Whether a link of this kind (in the configuration) comes in at an address. */
export function isListenKind(kind: string): kind is ListenKind {
  return (LISTEN_KINDS as readonly string[]).includes(kind);
}

/** The text of an address, as `parseLinkSpec` reads it. */
export function formatLinkAddress(address: LinkAddress): string {
  switch (address.transport) {
    case 'unix':
      return `unix:${address.path}`;
    case 'tcp':
      return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'fd':
      return `fd:${address.fd}`;
    case 'vsock':
      return `vsock://${address.cid ?? ''}:${address.port}`;
  }
}

function parseAddress(text: string): LinkAddress | undefined {
  if (text.startsWith('/')) return { transport: 'unix', path: text };
  if (text.startsWith('unix:')) {
    const path = text.slice(text.startsWith('unix://') ? 7 : 5);
    return path === '' ? undefined : { transport: 'unix', path };
  }
  if (text.startsWith('tcp:')) return parseTcp(text.slice(text.startsWith('tcp://') ? 6 : 4));
  const fd = /^fd:(\d{1,7})$/.exec(text);
  return fd === null ? undefined : { transport: 'fd', fd: Number(fd[1]) };
}

function parseTcp(text: string): LinkAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  const host = match[1] ?? match[2] ?? '';
  return port > 65535 ? undefined : { transport: 'tcp', host, port };
}

function parseVsock(text: string, bare: boolean): LinkAddress | undefined {
  const match = /^(vsock:(?:\/\/)?)?(?:(\d{1,10})?:)?(\d{1,10})$/.exec(text);
  if (match === null || (match[1] === undefined && !bare)) return undefined;
  const port = Number(match[3]);
  const cid = match[2] === undefined ? undefined : Number(match[2]);
  if (port > 0xfffffffe || (cid !== undefined && cid > 0xfffffffe)) return undefined;
  return { transport: 'vsock', cid, port };
}

/** Throws where the kernel would cut the path short or refuse it. */
export function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (path.includes('\0')) throw new NetproxyError('ERR_NETPROXY_CONFIG', 'a socket path holds a NUL byte');
  if (length <= UNIX_PATH_MAX) return;
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `the socket path ${path} is ${length} bytes long; the system allows ${UNIX_PATH_MAX}`,
    { remedy: 'Choose a shorter directory, for example one under /run.' },
  );
}

function badSpec(text: string, kind: string, why?: string): NetproxyError {
  const forms = kind === 'vsock' ? VSOCK_FORMS : kind === 'vfkit' || kind === 'bess' ? PACKET_FORMS : FORMS;
  return new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `${kind}: "${text}" is no address${why === undefined ? '' : `: ${why}`}`,
    { remedy: `Allowed: ${forms}.` },
  );
}
