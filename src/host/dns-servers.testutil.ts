/** Name servers played on loopback, over UDP, TCP, TLS and HTTPS, and what is asked of them. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import { createServer, type AddressInfo, type Socket as TcpSocket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import dnsPacket from 'dns-packet';
import { DnsTcpSession, frameTcp, type DnsTransport, type DnsUpstreamError } from '../dns/index.js';
import { HostDnsUpstream, type HostDnsUpstreamOptions } from './dns-upstream.js';
import type { DnsServerAddress } from './resolver-files.js';

export type Reply = (asked: Uint8Array) => readonly Uint8Array[];
export type Cleanup = (cleanup: () => void) => void;

export const ASKED = Uint8Array.from(
  dnsPacket.encode({ type: 'query', id: 7, flags: 0x100, questions: [{ name: 'www.example', type: 'A' }] }),
);

export function question(name: string): Uint8Array {
  return Uint8Array.from(
    dnsPacket.encode({ type: 'query', id: 7, flags: 0x100, questions: [{ name, type: 'A' }] }),
  );
}

export function answer(asked: Uint8Array, data = '10.0.0.1', flags = 0): Uint8Array {
  const { id, questions } = dnsPacket.decode(Buffer.from(asked));
  const answers = [{ type: 'A', name: 'www.example', ttl: 5, data } as const];
  return Uint8Array.from(
    dnsPacket.encode({ type: 'response', id: id!, flags, questions: questions!, answers }),
  );
}

export function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

export const data = (bytes: Uint8Array): unknown =>
  (dnsPacket.decode(Buffer.from(bytes)).answers as { data: string }[])[0]?.data;
export const silent: Reply = () => [];

/** A name server; `udp` and `tcp` say what it answers to each query. */
export class PlayedServer {
  readonly asked: { bytes: Uint8Array; port: number; transport: string }[] = [];
  /** TCP connections so far. */
  connections = 0;
  readonly streams = new Set<TcpSocket>();
  address!: DnsServerAddress;
  udpReply: Reply = silent;
  tcpReply: Reply = silent;
  private udp!: Socket;

  static async start(cleanup: Cleanup, udp: Reply, tcp?: Reply): Promise<PlayedServer> {
    const server = new PlayedServer();
    server.udpReply = udp;
    server.udp = createSocket('udp4');
    server.udp.bind(0, '127.0.0.1');
    await once(server.udp, 'listening');
    const { port } = server.udp.address();
    server.address = { host: '127.0.0.1', port };
    server.udp.on('message', (bytes, peer) => {
      server.asked.push({ bytes, port: peer.port, transport: 'udp' });
      for (const reply of server.udpReply(bytes)) server.udp.send(reply, peer.port, peer.address);
    });
    cleanup(() => server.udp.close());
    if (tcp) {
      server.tcpReply = tcp;
      const listener = createServer((socket) => {
        server.serve(socket);
      }).listen(port, '127.0.0.1');
      await once(listener, 'listening');
      cleanup(() => listener.close());
    }
    return server;
  }

  /** Over TLS, with a certificate for dns.test, or for 127.0.0.1. */
  static async tls(cleanup: Cleanup, reply: Reply, by: 'name' | 'address'): Promise<PlayedServer> {
    const server = new PlayedServer();
    server.tcpReply = reply;
    const listener = createTlsServer({ ...(by === 'name' ? NAMED : NUMBERED) }, (socket) => {
      server.serve(socket);
    }).listen(0, '127.0.0.1');
    listener.on('tlsClientError', () => undefined);
    await once(listener, 'listening');
    cleanup(() => listener.close());
    const { port } = listener.address() as AddressInfo;
    server.address = { kind: 'tls', host: '127.0.0.1', port, ...(by === 'name' ? { name: 'dns.test' } : {}) };
    return server;
  }

  /** Over HTTPS; `status` for every request. */
  static async https(cleanup: Cleanup, reply: Reply, status = 200): Promise<PlayedServer> {
    const server = new PlayedServer();
    const listener = createSecureServer(NAMED);
    listener.on('session', (session) => {
      server.connections++;
      cleanup(() => session.destroy());
    });
    listener.on('sessionError', () => undefined);
    listener.on('stream', (stream, headers) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', () => undefined);
      stream.on('end', () => {
        const bytes = Buffer.concat(chunks);
        server.asked.push({ bytes, port: 0, transport: `${headers[':method']} ${headers[':path']}` });
        stream.respond({ ':status': status, 'content-type': 'application/dns-message' });
        stream.end(reply(bytes)[0]);
      });
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    cleanup(() => listener.close());
    const { port } = listener.address() as AddressInfo;
    server.address = { kind: 'https', host: '127.0.0.1', port, name: 'dns.test', path: '/dns-query' };
    return server;
  }

  private serve(socket: TcpSocket): void {
    this.connections++;
    this.streams.add(socket);
    const session = new DnsTcpSession((bytes) => {
      this.asked.push({ bytes, port: socket.remotePort!, transport: 'tcp' });
      const replies = this.tcpReply(bytes);
      if (replies.length === 0) socket.end();
      for (const one of replies) socket.write(frameTcp(one));
    }, Number.POSITIVE_INFINITY);
    socket.on('data', (chunk: Uint8Array) => session.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.streams.delete(socket));
  }
}

/** A port where nobody is. */
export async function closedPort(): Promise<DnsServerAddress> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return { host: '127.0.0.1', port };
}

export interface PromisedAnswer {
  readonly bytes: Uint8Array;
  readonly server: string | undefined;
}

/** An upstream whose queries are promises. */
export class PromisedUpstream {
  readonly host: HostDnsUpstream;

  constructor(
    cleanup: Cleanup,
    servers: readonly DnsServerAddress[] | (() => readonly DnsServerAddress[]),
    options: Partial<HostDnsUpstreamOptions> = {},
  ) {
    const list = typeof servers === 'function' ? servers : () => servers;
    this.host = new HostDnsUpstream({ servers: list, retry: 100, ...options });
    cleanup(() => {
      this.close();
    });
  }

  async query(bytes: Uint8Array, transport: DnsTransport, timeout: number): Promise<Uint8Array> {
    return (await this.ask(bytes, transport, timeout)).bytes;
  }

  ask(bytes: Uint8Array, transport: DnsTransport, timeout: number): Promise<PromisedAnswer> {
    return new Promise((resolve, reject: (error: DnsUpstreamError) => void) => {
      this.host.query(bytes.slice(), transport, timeout, {
        answered: (found, server) => {
          resolve({ bytes: found.slice(), server });
        },
        failed: reject,
      });
    });
  }

  close(): void {
    this.host.close();
  }
}

/** Of nobody: made for these tests, good for a hundred years. */
const NAMED = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBkjCCATigAwIBAgIUanjYVLBsnxu1bDjOk75VMFf8i14wCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIZG5zLnRlc3QwIBcNMjYxMTIxMTcyNDA1WhgPMjEyNjEwMjgx
NzI0MDVaMBMxETAPBgNVBAMMCGRucy50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE1rDG1Wi5pb2cDZXdFuCuUKdlBiQX0Li8ZsPg0258eeep/xCA6symm8Yr
xf3y039pp3YfpYy+hiS3lVIvz+CdfqNoMGYwHQYDVR0OBBYEFCEzSBSPZL7mv3cw
EjUrgKJjXdcrMB8GA1UdIwQYMBaAFCEzSBSPZL7mv3cwEjUrgKJjXdcrMA8GA1Ud
EwEB/wQFMAMBAf8wEwYDVR0RBAwwCoIIZG5zLnRlc3QwCgYIKoZIzj0EAwIDSAAw
RQIgbLwxjEaoZv4xGK/n3RdV32jIwFsQGoi6SbYNhTtT9KICIQCoCfYlD5dE9nXu
3cWrdDiez59o4aJOHT2srSMwO7pORg==
-----END CERTIFICATE-----`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9Kf60suiJoUF9PRY
ThsAtFGTVBbuU/4Q6Xprt8HwIkmhRANCAATWsMbVaLmlvZwNld0W4K5Qp2UGJBfQ
uLxmw+DTbnx556n/EIDqzKabxivF/fLTf2mndh+ljL6GJLeVUi/P4J1+
-----END PRIVATE KEY-----`,
};
const NUMBERED = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBjDCCATKgAwIBAgIUCFZqfN4Ocw6APSD7BLoRIU5Z5yMwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHaXAudGVzdDAgFw0yNjExMjExNzI0MDVaGA8yMTI2MTAyODE3
MjQwNVowEjEQMA4GA1UEAwwHaXAudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABNP1NOwmM8pfHQ3SDTKJ/GoJH3AqgMCCGkAuY96eTQTbJNfnGLkUgK6/FCF6
5yMuyUHSXqKtUsFc2N2QRzFj2UejZDBiMB0GA1UdDgQWBBQRdIXgKbfgSJAU319V
lgiGHq4gKTAfBgNVHSMEGDAWgBQRdIXgKbfgSJAU319VlgiGHq4gKTAPBgNVHRMB
Af8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIhAPf5
pA4EvxAvgyrvBYOTsLO23lZIiEb5G2EWU0vNqGlyAiAxb1fGslOLEH9vBzANs6FD
FLIMjovmIDJtNxYlHv3R0w==
-----END CERTIFICATE-----`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghq06ZOAtXg4/+hEB
SA5wAWdSCJGlJDVinK/e3RfWW0KhRANCAATT9TTsJjPKXx0N0g0yifxqCR9wKoDA
ghpALmPenk0E2yTX5xi5FICuvxQheucjLslB0l6irVLBXNjdkEcxY9lH
-----END PRIVATE KEY-----`,
};
/** Whom clients of the servers above have to trust. */
export const AUTHORITIES = `${NAMED.cert}\n${NUMBERED.cert}\n`;
