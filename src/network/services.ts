/** Services of the gateway: who answers on which address and port of the virtual network. */
import type { Duplex } from 'node:stream';
import { type Ipv4, NetproxyError, formatIpv4, parseIpv4 } from '../core/index.js';
import { GuestStream } from '../forwarder/index.js';
import type { Policy } from '../policy/index.js';
import type { Stack, TcpSyn, UdpIn } from '../stack/index.js';
import type { Guest } from './guest.js';
import type { GuestService } from './types.js';

export type TcpService = (stream: GuestStream, guest: Guest) => void;
export type UdpService = (datagram: UdpIn, guest: Guest) => void;

export class Services {
  private readonly policy: Policy;
  private readonly tcpServices = new Map<string, TcpService>();
  private readonly udpServices = new Map<string, UdpService>();
  private readonly streams = new Set<Duplex>();

  constructor(policy: Policy) {
    this.policy = policy;
  }

  /** Throws ERR_NETPROXY_STATE when the place is taken. */
  addTcp(ip: Ipv4, port: number, name: string, service: TcpService): void {
    this.enter(this.tcpServices, 'tcp', ip, port, service);
    this.policy.addService('tcp', ip, port, name);
  }

  addUdp(ip: Ipv4, port: number, name: string, service: UdpService): void {
    this.enter(this.udpServices, 'udp', ip, port, service);
    this.policy.addService('udp', ip, port, name);
  }

  removeTcp(ip: Ipv4, port: number): void {
    this.tcpServices.delete(`${ip}/${port}`);
    this.policy.removeService('tcp', ip, port);
  }

  /** Adds what a program offers inside the network. Throws ERR_NETPROXY_CONFIG where the address is not ours. */
  listen(stack: Stack, ip: string, port: number, service: TcpService): GuestService {
    const address = parseIpv4(ip);
    if (address === undefined || !stack.isOurs(address)) {
      throw new NetproxyError(
        'ERR_NETPROXY_CONFIG',
        `cannot listen on ${ip}:${port} of the virtual network`,
        { remedy: `Allowed are the gateway ${formatIpv4(stack.config.gatewayIp)} and the host alias.` },
      );
    }
    this.addTcp(address, port, `${ip}:${port}`, service);
    return {
      close: () => {
        this.removeTcp(address, port);
      },
    };
  }

  tcp(syn: TcpSyn, guest: Guest): void {
    const service = this.tcpServices.get(`${syn.destination}/${syn.destinationPort}`);
    if (service === undefined) {
      syn.reject();
      return;
    }
    const stream = new GuestStream();
    stream.endpoint = syn.hold(stream);
    if (stream.endpoint.ended) return;
    // A guest may reset at any moment; a service that does not care must not bring the process down.
    stream.on('error', () => undefined);
    this.streams.add(stream);
    stream.once('close', () => this.streams.delete(stream));
    stream.endpoint.accept();
    service(stream, guest);
  }

  udp(datagram: UdpIn, guest: Guest): void {
    this.udpServices.get(`${datagram.destination}/${datagram.destinationPort}`)?.(datagram, guest);
  }

  stop(): void {
    for (const stream of this.streams) stream.destroy();
  }

  private enter<T>(services: Map<string, T>, protocol: string, ip: Ipv4, port: number, service: T): void {
    const key = `${ip}/${port}`;
    if (services.has(key))
      throw new NetproxyError(
        'ERR_NETPROXY_STATE',
        `${protocol} ${formatIpv4(ip)}:${port} has a service already`,
      );
    services.set(key, service);
  }
}
