/** The addresses by which this host is known outside, the one of its default route first. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';

/** Never answer: for documentation (RFC 5737, RFC 3849). Nothing is sent there; the kernel says which address it would take. */
const AWAY = { udp4: '192.0.2.1', udp6: '2001:db8::1' } as const;

/** Without those of the loopback and of a link alone. Never rejects. */
export async function outwardAddresses(): Promise<readonly string[]> {
  const routed = await Promise.all([sourceOf('udp4'), sourceOf('udp6')]);
  const others = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
    .map(({ address }) => address);
  return [...new Set([...routed.flatMap((address) => address ?? []), ...others])];
}

/** The address that packets to the outside would have; undefined: there is no way outside. */
function sourceOf(type: 'udp4' | 'udp6'): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(type);
    const done = (address: string | undefined): void => {
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.close();
      resolve(address);
    };
    socket.once('error', () => done(undefined));
    socket.once('connect', () => done(socket.address().address));
    try {
      socket.connect(9, AWAY[type]);
    } catch {
      done(undefined);
    }
  });
}
