/**
 * HostIo made from node:net and node:dgram, for hosts without the crate. Of UDP it does without the errors that ICMP brings,
 * without TOS and DF, and a TTL holds for all that a socket sends within a turn. It has no pings.
 */
import { type Socket as UdpSocket, createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import {
  type HostIo,
  type HostListener,
  type HostStream,
  type HostStreamHandler,
  type HostUdp,
  type HostUdpHandler,
  type HostUdpServer,
  type HostUdpServerHandler,
  type Ipv4,
  formatIpv4,
  ipv4,
  parseIpv4,
} from '../core/index.js';
import { errnoOf } from './errno.js';
import { listenError } from './listen-error.js';
import { NodeStream } from './node-stream.js';

/** Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn. */
const BACKLOG = 4096;
/** Kernel buffers of a flow's UDP socket, bytes. */
const UDP_BUFFER = 512 * 1024;

function listen(
  host: string,
  port: number,
  onStream: (stream: HostStream) => HostStreamHandler,
  onTrouble?: (errno: string) => void,
): Promise<HostListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
      const stream = NodeStream.over(socket);
      stream.attach(onStream(stream));
    });
    server.once('error', (error) => {
      listenError('tcp', host, port, errnoOf(error), error).then(reject, reject);
    });
    server.listen({ host, port, backlog: BACKLOG, exclusive: true, ipv6Only: isIPv6(host) }, () => {
      server.removeAllListeners('error');
      // EMFILE and the like while accepting: weather, the client waits in the backlog.
      server.on('error', (error) => onTrouble?.(errnoOf(error)));
      const address = server.address() as { address: string; port: number };
      resolve({ host: address.address, port: address.port, close: () => server.close() });
    });
  });
}

class NodeUdp implements HostUdp {
  private readonly socket: UdpSocket;
  private closed = false;
  private bound = false;
  /** 0: the host's own, until another one was asked for. */
  private ttl = 0;

  constructor(handler: HostUdpHandler) {
    this.socket = createSocket({ type: 'udp4', recvBufferSize: UDP_BUFFER, sendBufferSize: UDP_BUFFER });
    this.socket.on('message', (bytes, from) => {
      const ip = parseIpv4(from.address);
      if (ip !== undefined) handler.datagram(bytes, 0, bytes.length, ip, from.port, 0, 0);
    });
    this.socket.on('error', (error) => {
      handler.error(errnoOf(error), ipv4(0), 0, 0);
    });
    this.handler = handler;
    this.socket.bind(0, () => {
      this.bound = true;
      if (this.ttl !== 0) this.socket.setTTL(this.ttl);
    });
  }

  private readonly handler: HostUdpHandler;

  send(bytes: Uint8Array, offset: number, length: number, ip: Ipv4, port: number, ttl: number): void {
    if (this.closed) return;
    if (ttl !== 0 && ttl !== this.ttl) {
      this.ttl = ttl;
      if (this.bound) this.socket.setTTL(ttl);
    }
    // A copy: Node sends later, the batch is gone by then.
    const copy = bytes.slice(offset, offset + length);
    this.socket.send(copy, port, formatIpv4(ip), (error) => {
      if (error !== null && !this.closed) this.handler.error(errnoOf(error), ip, port, 0);
    });
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.close();
  }
}

function bindUdp(host: string, port: number, handler: HostUdpServerHandler): Promise<HostUdpServer> {
  return new Promise((resolve, reject) => {
    const v6 = isIPv6(host);
    const socket = createSocket({
      type: v6 ? 'udp6' : 'udp4',
      ipv6Only: v6,
      recvBufferSize: UDP_BUFFER,
      sendBufferSize: UDP_BUFFER,
    });
    let closed = false;
    socket.once('error', (error) => {
      socket.close();
      listenError('udp', host, port, errnoOf(error), error).then(reject, reject);
    });
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      socket.on('error', (error) => {
        handler.error(errnoOf(error));
      });
      socket.on('message', (bytes, from) => {
        handler.datagram(bytes, from.address, from.port);
      });
      const address = socket.address();
      resolve({
        host: address.address,
        port: address.port,
        send: (bytes, toHost, toPort) => {
          if (closed) return;
          socket.send(bytes.slice(), toPort, toHost, (error) => {
            if (error !== null && !closed) handler.error(errnoOf(error));
          });
        },
        close: () => {
          if (closed) return;
          closed = true;
          socket.close();
        },
      });
    });
  });
}

/** Node's own sockets. */
export const nodeIo: HostIo = {
  dial: (target, handler) => NodeStream.dial(target, handler),
  listen,
  udp: (handler) => new NodeUdp(handler),
  bindUdp,
};
