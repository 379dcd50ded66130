/** `serve --json`: what happens, as JSON lines. */
import { formatIpv4 } from '../core/index.js';
import type { Guest, Network } from '../index.js';

/** Writes a line for every event of the network until it stopped. */
export function printEvents(network: Network, write: (line: string) => void): void {
  const say = (event: string, fields: object = {}): void => {
    write(`${JSON.stringify({ time: new Date().toISOString(), event, ...fields })}\n`);
  };
  const about = ({ id, name, link }: Guest) => ({
    guest: name,
    id,
    link: { kind: link.kind, name: link.name },
  });
  network.on('started', () => {
    say('started', { addresses: network.addresses, ports: network.ports() });
  });
  network.on('attached', (guest) => {
    say('attached', about(guest));
  });
  network.on('detached', (guest, reason) => {
    say('detached', { ...about(guest), ...(reason === undefined ? {} : { reason: reason.message }) });
  });
  network.on('lease', ({ kind, lease }) => {
    const { mac, hostname, guest } = lease;
    say('lease', { kind, ip: formatIpv4(lease.ip), mac, hostname, guest });
  });
  network.on('warning', (message) => {
    say('warning', { message });
  });
  network.on('stopped', () => {
    say('stopped');
  });
}
