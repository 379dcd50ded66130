/**
 * Which client of a published UDP port a guest answers. Clients stand behind a port of the gateway each, or, where their source is
 * preserved, behind their own address: then the whole tuple counts, so that what the guest sends to the same address from another
 * port of its own is none of theirs.
 */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, type Random, below, hashKey } from '../core/index.js';
import { FlowTable, type UdpIn } from '../stack/index.js';
import { FIRST_PORT, PORTS } from './client-ports.js';
import type { UdpClient } from './published-client.js';

export class ReplyPorts {
  private readonly gatewayIp: Ipv4;
  private readonly random: Random;
  private readonly gateway = new Map<number, UdpClient>();
  private readonly shown: FlowTable<UdpClient>;

  constructor(gatewayIp: Ipv4, random: Random) {
    this.gatewayIp = gatewayIp;
    this.random = random;
    this.shown = new FlowTable(hashKey(random));
  }

  /**
   * Gives a client an address: `wanted` with the client's port, with another where the guest has that client already. False when
   * all ports are taken.
   */
  bind(client: UdpClient, wanted: Ipv4): boolean {
    client.ip = wanted;
    client.shownPort = wanted === this.gatewayIp ? 0 : client.port;
    if (client.shownPort > 0 && this.enter(client)) return true;
    const start = below(this.random, PORTS);
    for (let i = 0; i < PORTS; i++) {
      client.shownPort = FIRST_PORT + ((start + i) % PORTS);
      if (this.enter(client)) return true;
    }
    return false;
  }

  unbind(client: UdpClient): void {
    if (client.ip === this.gatewayIp) this.gateway.delete(client.shownPort);
    else {
      const { neighbour } = client;
      this.shown.delete(neighbour.port, neighbour.ip, client.ip, wordOf(client.guestPort, client.shownPort));
    }
  }

  /** The client is with another guest, or with the same one at another place, as far as it can stay who it is. False: it cannot. */
  move(client: UdpClient, neighbour: Neighbour): boolean {
    if (client.ip === this.gatewayIp) {
      client.neighbour = neighbour;
      return true;
    }
    this.unbind(client);
    client.neighbour = neighbour;
    return this.enter(client);
  }

  /** Whom a guest's datagram answers; undefined: nobody. */
  answered({ port, source, sourcePort, destination, destinationPort }: UdpIn): UdpClient | undefined {
    return this.find(port.id, source, sourcePort, destination, destinationPort);
  }

  find(port: number, ip: Ipv4, guestPort: number, peer: Ipv4, peerPort: number): UdpClient | undefined {
    if (peer === this.gatewayIp) return this.gateway.get(peerPort);
    if (this.shown.size === 0) return undefined;
    return this.shown.find(port, ip, peer, wordOf(guestPort, peerPort));
  }

  private enter(client: UdpClient): boolean {
    const { neighbour, guestPort, ip, shownPort } = client;
    if (this.find(neighbour.port, neighbour.ip, guestPort, ip, shownPort) !== undefined) return false;
    if (ip === this.gatewayIp) this.gateway.set(shownPort, client);
    else this.shown.set(neighbour.port, neighbour.ip, ip, wordOf(guestPort, shownPort), client);
    return true;
  }
}

function wordOf(guestPort: number, peerPort: number): number {
  return (guestPort << 16) | peerPort;
}
