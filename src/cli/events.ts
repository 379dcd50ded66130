/** `serve --json`: what happens, as JSON lines. */
import { watchEvents } from '../api/index.js';
import type { Network } from '../index.js';

/** Writes a line for every event of the network until it stopped. */
export function printEvents(network: Network, write: (line: string) => void): void {
  watchEvents(network, (event) => {
    write(`${JSON.stringify(event)}\n`);
  });
}
