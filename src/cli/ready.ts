/** What `--ready-fd` gets: one line of JSON with everything that was chosen. */
import { closeSync, writeSync } from 'node:fs';
import type { Network } from '../index.js';
import type { LinkListener } from '../link/index.js';
import { usageError } from './exit.js';
import { packageVersion } from '../api/index.js';

/** Where the control API listens. */
export interface Doors {
  readonly services?: string;
  readonly servicesReadOnly?: string;
}

/** The line without its newline, as an object. Ports and addresses are the chosen ones. */
export function readiness(network: Network, listeners: readonly LinkListener[], doors: Doors) {
  return {
    ready: true,
    version: packageVersion(),
    pid: process.pid,
    native: network.hub !== undefined,
    addresses: network.addresses,
    ports: network
      .ports()
      .map(({ protocol, host, port, target, guestPort }) => ({ protocol, host, port, target, guestPort })),
    listeners: listeners.map(({ kind, address }) => ({ kind, address })),
    guests: network.guests().map(({ name, link }) => ({ name, link: { kind: link.kind, name: link.name } })),
    ...doors,
  };
}

/** Writes the line and closes the descriptor, unless it is a standard stream. Throws ERR_NETPROXY_CONFIG. */
export function tellReady(fd: number, state: object): void {
  try {
    writeSync(fd, `${JSON.stringify(state)}\n`);
    if (fd > 2) closeSync(fd);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // The reader does not want to know any more: no reason to end.
    if (code === 'EPIPE') return;
    const why = code === 'EBADF' ? 'it is not open for writing' : message;
    throw usageError(
      `--ready-fd: cannot write to descriptor ${fd}: ${why}`,
      'Give a descriptor that the parent opened.',
    );
  }
}
