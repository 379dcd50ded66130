/**
 * DHCP for isolated guests that have what another has: clones of one machine, each going on with the lease of the original.
 *
 * Theory of operation. All guests ask the network's one server, so that new ones get addresses of their own. When that refuses
 * an isolated guest only because another guest has the address, the guest gets a server of its own, whose leases are
 * nobody else's business, for as long as it is attached.
 */
import { type Ipv4, type Millis } from '../core/index.js';
import {
  type DhcpConfig,
  type DhcpContext,
  type DhcpMessage,
  type DhcpReply,
  DhcpServer,
  type GuestKey,
  type LeaseInfo,
  MessageType,
  Option,
  readAddress,
  readU8,
} from '../dhcp/index.js';

export class DhcpClones {
  private readonly config: DhcpConfig;
  private readonly servers = new Map<GuestKey, DhcpServer>();

  /** `config`: that of the network's server; what concerns others (who uses what, what is kept for whom) is left out. */
  constructor(config: DhcpConfig) {
    this.config = { ...config, statics: undefined, inUse: undefined, recordChanged: undefined };
  }

  /** The server of a guest that has one of its own. */
  of(guest: GuestKey): DhcpServer | undefined {
    return this.servers.get(guest);
  }

  /**
   * What a guest gets for a message that the network's server refused with `nak`; `taken`: whether another guest has an address.
   * The refusal again when that is not why.
   */
  overrule(
    nak: DhcpReply,
    message: DhcpMessage,
    context: DhcpContext,
    taken: (ip: Ipv4) => boolean,
  ): DhcpReply {
    const ip = addressOf(message);
    if (!isNak(nak) || ip === undefined || !taken(ip)) return nak;
    const server = new DhcpServer(this.config);
    const reply = server.handle(message, context);
    if (reply === undefined || isNak(reply)) return nak;
    this.servers.set(context.guestId, server);
    return reply;
  }

  /** The guest went away. */
  forget(guest: GuestKey): void {
    this.servers.delete(guest);
  }

  *leases(): IterableIterator<LeaseInfo> {
    for (const server of this.servers.values()) yield* server.leases();
  }

  nextTimeout(): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const server of this.servers.values()) next = Math.min(next, server.nextTimeout());
    return next;
  }

  poll(now: Millis): void {
    for (const server of this.servers.values()) server.poll(now);
  }
}

function isNak({ message }: DhcpReply): boolean {
  return readU8(message.options.get(Option.messageType)) === MessageType.nak;
}

/** The address that a client says it has. */
function addressOf({ ciaddr, options }: DhcpMessage): Ipv4 | undefined {
  return ciaddr === 0 ? readAddress(options.get(Option.requestedAddress)) : ciaddr;
}
