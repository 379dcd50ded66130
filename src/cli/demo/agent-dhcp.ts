/**
 * A DHCP client for namespaces without one. Plain sockets cannot send from an interface without an address, so the
 * namespace is configured already and asks by unicast: DISCOVER, OFFER, REQUEST, ACK (RFC 2131) for the address it has.
 */
import { networkInterfaces } from 'node:os';
import { IPV4_ANY, type Mac, formatIpv4, parseMac } from '../../core/index.js';
import {
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  type DhcpMessage,
  MessageType,
  Option,
  encodeDhcp,
  parseDhcp,
} from '../../dhcp/index.js';
import { nodeIo } from '../../host/index.js';

const TIMEOUT = 5000;

/** Gets a lease from the server at this address; returns the leased one. Rejects when there is none in time. */
export async function leaseByHand(server: string): Promise<string> {
  const mine = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal);
  const mac = parseMac(mine?.mac ?? '');
  if (mine === undefined || mac === undefined) throw new Error('the namespace has no configured interface');
  const xid = Math.floor(Math.random() * 0x1_0000_0000);
  const inbox: DhcpMessage[] = [];
  let wake: () => void = () => undefined;
  const socket = await nodeIo.bindUdp('0.0.0.0', DHCP_CLIENT_PORT, {
    datagram: (bytes) => {
      const message = parseDhcp(bytes, 0, bytes.length);
      if (typeof message === 'string' || message.xid !== xid) return;
      inbox.push(message);
      wake();
    },
    error: () => undefined,
  });
  const ask = async (
    type: number,
    options: readonly (readonly [number, Uint8Array])[],
    wanted: number,
  ): Promise<DhcpMessage> => {
    socket.send(
      encodeDhcp(request(mac, xid, [[Option.messageType, Uint8Array.of(type)], ...options])),
      server,
      DHCP_SERVER_PORT,
    );
    const deadline = performance.now() + TIMEOUT;
    for (;;) {
      const answer = inbox.shift();
      if (answer?.options.get(Option.messageType)?.[0] === wanted) return answer;
      if (answer !== undefined) continue;
      if (performance.now() >= deadline)
        throw new Error(`no DHCP answer from ${server} within ${TIMEOUT} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };
  try {
    const wish = [Option.requestedAddress, octets(mine.address)] as const;
    const offer = await ask(MessageType.discover, [wish], MessageType.offer);
    const serverId = offer.options.get(Option.serverId) ?? octets(server);
    const chosen = [Option.requestedAddress, octets(formatIpv4(offer.yiaddr))] as const;
    const lease = await ask(MessageType.request, [chosen, [Option.serverId, serverId]], MessageType.ack);
    return formatIpv4(lease.yiaddr);
  } finally {
    socket.close();
  }
}

function request(chaddr: Mac, xid: number, options: readonly (readonly [number, Uint8Array])[]): DhcpMessage {
  const nobody = { ciaddr: IPV4_ANY, yiaddr: IPV4_ANY, siaddr: IPV4_ANY, giaddr: IPV4_ANY };
  return { op: 1, hops: 0, xid, secs: 0, broadcast: false, ...nobody, chaddr, options: new Map(options) };
}

function octets(ip: string): Uint8Array {
  return Uint8Array.from(ip.split('.').map(Number));
}
