/** Unprivileged ICMP sockets (net.ipv4.ping_group_range). The kernel sets id and checksum of what they send. */
import { type HostPing, type HostPingHandler, ipv4 } from '../core/index.js';
import type { Hub } from './hub.js';
import { NativeUdpSocket, type UdpScratch, icmpOf } from './udp.js';

const ECHO_REPLY = 0;
/** Type, code, checksum, id, sequence. */
const ECHO_HEADER = 8;

/** Undefined where the host does not allow one, or has none left. */
export function nativePing(hub: Hub, scratch: UdpScratch, handler: HostPingHandler): HostPing | undefined {
  const handle = hub.poller.pingOpen(false);
  if (handle < 0) return undefined;
  const socket = new NativeUdpSocket(hub, scratch, handle, {
    datagram: (bytes, offset, length, at) => {
      const { meta } = scratch;
      if (length < ECHO_HEADER || bytes[offset] !== ECHO_REPLY) return;
      handler.reply(bytes, offset, length, ipv4(meta[at + 4]!), meta[at + 12]!, meta[at + 13]!);
    },
    failed: (errno, at) => {
      const { errors } = scratch;
      const icmp = icmpOf(errors, at);
      // The message that failed is quoted from its header on: id and sequence are its second word.
      const sequence = icmp === undefined ? undefined : errors[at + 15]! & 0xffff;
      const mtu = errno === 'EMSGSIZE' ? errors[at + 4]! : 0;
      handler.error(errno, ipv4(errors[at + 10]!), sequence, mtu, icmp);
    },
    refused: (errno, table, at) => {
      const ip = ipv4(table[at + 4]!);
      queueMicrotask(() => {
        handler.error(errno, ip, undefined, 0);
      });
    },
  });
  return {
    send: (bytes, offset, length, ip, ttl, tos, dontFragment) => {
      socket.setDontFragment(dontFragment);
      socket.send(bytes, offset, length, 0, ip, ttl, tos);
    },
    close: () => {
      socket.close();
    },
  };
}
