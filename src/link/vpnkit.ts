/**
 * The server's side of vpnkit's handshake, byte for byte (docs of the wire: moby/vpnkit docs/ethernet.md). Little-endian.
 *
 *   client: VMN3T, u32 version, 40 bytes commit            server: the same with its own
 *   client: u8 command, 36 bytes UUID, u32 preferred IPv4  server: 258 bytes, 01 vif or 02 disconnect
 *
 * Limits: nothing is kept beyond what the steps read (49 and 41 bytes); the deadline is the acceptor's.
 */
import { ipv4, NetproxyError, writeMac } from '../core/index.js';
import type { Ipv4, Mac } from '../core/index.js';
import type { ChannelReader } from './channel.js';

export const VPNKIT_MAGIC = 'VMN3T';
export const VPNKIT_VERSION = 22;
const INIT_LENGTH = 49;
const COMMAND_LENGTH = 41;
const REPLY_LENGTH = 258;
/** Forty ASCII digits, as a commit has. */
const COMMIT = '0'.repeat(40);
const COMMAND = { ethernet: 1, bindIpv4: 6, preferredIpv4: 8 } as const;
const REPLY = { vif: 1, disconnect: 2 } as const;
const MESSAGE_MAX = 255;
/** What a virtual interface takes on top of its MTU: Ethernet header and slack, as vpnkit counts it. */
const OVERHEAD = 50;

/** Gives a guest its place, the same one for the same UUID. `ok: false`: the message is shown to the guest's side. */
export type VpnkitAssign = (uuid: string, preferredIp?: Ipv4) => VpnkitAssignment | Promise<VpnkitAssignment>;

export type VpnkitAssignment =
  | { readonly ok: true; readonly mac: Mac; readonly ip: Ipv4 }
  | { readonly ok: false; readonly message: string };

export interface VpnkitDeps {
  readonly assign: VpnkitAssign;
  /** MTU of the network, bytes. */
  readonly mtu: number;
  /** Makes the UUID of a guest that brings none. */
  readonly newUuid: () => string;
}

export interface VpnkitGuest {
  readonly uuid: string;
  readonly mac: Mac;
  readonly ip: Ipv4;
}

/**
 * Runs the handshake; frames follow in `reader.rest` and behind. Rejects with ERR_NETPROXY_PROTOCOL after the peer was told
 * what the protocol has words for, and the connection is closed.
 */
export async function vpnkitHandshake(reader: ChannelReader, deps: VpnkitDeps): Promise<VpnkitGuest> {
  const { channel } = reader;
  const magic = await reader.fill(VPNKIT_MAGIC.length);
  if (magic.toString('latin1', 0, VPNKIT_MAGIC.length) !== VPNKIT_MAGIC) {
    throw new NetproxyError('ERR_NETPROXY_PROTOCOL', 'the peer does not speak the vpnkit protocol');
  }
  const init = await reader.take(INIT_LENGTH);
  const version = init.readUInt32LE(5);
  if (version !== VPNKIT_VERSION) {
    channel.end(initMessage());
    throw new NetproxyError(
      'ERR_NETPROXY_PROTOCOL',
      `the peer speaks version ${version} of the vpnkit protocol, not ${VPNKIT_VERSION}`,
    );
  }
  await channel.write(initMessage());
  const code = (await reader.fill(1))[0]!;
  if (code !== COMMAND.ethernet && code !== COMMAND.preferredIpv4) {
    const what = code === COMMAND.bindIpv4 ? 'Bind_ipv4' : `Command ${code}`;
    return refuse(reader, `${what} is not supported`);
  }
  const command = await reader.take(COMMAND_LENGTH);
  const uuid = readUuid(command, deps.newUuid);
  if (uuid === undefined) return refuse(reader, 'Invalid UUID');
  const preferred = code === COMMAND.preferredIpv4 ? ipv4(command.readUInt32LE(37)) : undefined;
  const answer = await deps.assign(uuid, preferred);
  if (!answer.ok) return refuse(reader, answer.message);
  await channel.write(vifMessage(answer.mac, deps.mtu));
  return { uuid, mac: answer.mac, ip: answer.ip };
}

/** Text of 36 characters, 36 NULs for a new one; undefined when it is neither. */
function readUuid(command: Buffer, newUuid: () => string): string | undefined {
  const text = command.toString('latin1', 1, 37);
  if (text === '\0'.repeat(36)) return newUuid();
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined;
}

function refuse(reader: ChannelReader, message: string): never {
  reader.channel.end(disconnectMessage(message));
  throw new NetproxyError('ERR_NETPROXY_PROTOCOL', `refused: ${message}`);
}

/** The server's init message. */
function initMessage(): Buffer {
  const bytes = Buffer.alloc(INIT_LENGTH);
  bytes.write(VPNKIT_MAGIC, 'latin1');
  bytes.writeUInt32LE(VPNKIT_VERSION, 5);
  bytes.write(COMMIT, 9, 'latin1');
  return bytes;
}

function vifMessage(mac: Mac, mtu: number): Buffer {
  const bytes = Buffer.alloc(REPLY_LENGTH);
  bytes[0] = REPLY.vif;
  bytes.writeUInt16LE(mtu, 1);
  bytes.writeUInt16LE(Math.min(mtu + OVERHEAD, 0xffff), 3);
  writeMac(bytes, 5, mac);
  return bytes;
}

function disconnectMessage(message: string): Buffer {
  const bytes = Buffer.alloc(REPLY_LENGTH);
  const text = Buffer.from(message).subarray(0, MESSAGE_MAX);
  bytes[0] = REPLY.disconnect;
  bytes[1] = text.length;
  text.copy(bytes, 2);
  return bytes;
}
