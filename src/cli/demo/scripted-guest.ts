/** The guest of last resort: netproxy's own TCP/IP as a guest, over a link in memory. Not a real one, and the demo says so. */
import type { Duplex } from 'node:stream';
import { nodeScheduler } from '../../host/index.js';
import type { Network } from '../../index.js';
import { GuestError, ScriptedGuest, memoryLink } from '../../testing/index.js';
import type { DemoGuest, Transfer } from './guest.js';
import { httpDownload, httpUpload } from './transfer.js';

export class ScriptedDemoGuest implements DemoGuest {
  readonly kind = 'scripted';
  readonly description = "netproxy's own scripted guest, over a link in memory";
  private readonly guest: ScriptedGuest;

  constructor(network: Network) {
    const link = memoryLink(nodeScheduler);
    network.attach(link.network);
    this.guest = new ScriptedGuest(link.guest, { name: 'demo' });
  }

  async lease(): Promise<string> {
    return (await this.guest.dhcp()).ip;
  }

  async ping(ip: string): Promise<number> {
    return this.guest.ping(ip);
  }

  async resolve(name: string): Promise<string> {
    const [address] = await this.guest.resolve(name);
    if (address === undefined) throw new Error(`${name} has no address`);
    return address;
  }

  async refused(ip: string, port: number): Promise<number> {
    const started = performance.now();
    const socket = await this.guest.connect(ip, port).catch((error: unknown) => error);
    const ms = performance.now() - started;
    if (socket instanceof GuestError && socket.code === 'ECONNREFUSED') return ms;
    if (socket instanceof Error) throw socket;
    (socket as Duplex).destroy();
    throw new Error('it was accepted');
  }

  async download(ip: string, port: number, bytes: number): Promise<Transfer> {
    return httpDownload(await this.guest.connect(ip, port), bytes);
  }

  async upload(ip: string, port: number, bytes: number): Promise<Transfer> {
    return httpUpload(await this.guest.connect(ip, port), bytes);
  }

  async udp(ip: string, port: number, count: number): Promise<number> {
    const socket = this.guest.udp();
    try {
      let back = 0;
      for (let n = 0; n < count; n++) {
        socket.send(`datagram ${n}`, ip, port);
        const { bytes } = await socket.recv({ timeout: 2000 });
        if (Buffer.from(bytes).toString() === `datagram ${n}`) back++;
      }
      return back;
    } finally {
      socket.close();
    }
  }

  async serve(port: number, text: string): Promise<void> {
    this.guest.listen(port, (socket) => {
      socket.resume();
      socket.once('data', () =>
        socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`),
      );
    });
  }

  async close(): Promise<void> {
    this.guest.close();
  }
}
