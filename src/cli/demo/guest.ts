/** What the demo asks of a guest, whatever it is made of. */

/** A transfer, as the guest saw it. */
export interface Transfer {
  /** From the request to the last byte. */
  readonly ms: number;
  /** Of what arrived. */
  readonly sha256: string;
  readonly bytes: number;
}

export interface DemoGuest {
  /** `namespace`, `QEMU` or `scripted`. */
  readonly kind: 'netns' | 'vm' | 'scripted';
  /** For people: what the guest is. */
  readonly description: string;
  /** Gets an address by DHCP; returns it. */
  lease(): Promise<string>;
  /** Round trip in ms. */
  ping(ip: string): Promise<number>;
  /** Asks the guest's name server for an IPv4 address. */
  resolve(name: string): Promise<string>;
  /** Connects to a closed port; ms until it was refused. Rejects when it was not. */
  refused(ip: string, port: number): Promise<number>;
  /** GET /bytes/N. */
  download(ip: string, port: number, bytes: number): Promise<Transfer>;
  /** PUT /upload with the test bytes; the digest is the server's. */
  upload(ip: string, port: number, bytes: number): Promise<Transfer>;
  /** Sends datagrams to an echo server; returns how many came back. */
  udp(ip: string, port: number, count: number): Promise<number>;
  /** Serves `text` over HTTP to whoever connects. */
  serve(port: number, text: string): Promise<void>;
  /** Ends the guest. Idempotent. */
  close(): Promise<void>;
}

/** The port that the guest serves. */
export const GUEST_PORT = 8080;
/** What it says there. */
export const GREETING = 'hello from the guest\n';
