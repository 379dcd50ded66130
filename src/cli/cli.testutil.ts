/** A terminal that remembers, and the command line run on it. */
import { main } from './program.js';
import type { Terminal } from './terminal.js';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class FakeTerminal implements Terminal {
  stdout = '';
  stderr = '';
  readonly color = { out: false, err: false };

  out(text: string): void {
    this.stdout += text;
  }

  err(text: string): void {
    this.stderr += text;
  }
}

/** Runs `netproxy ARGS…` in this process. */
export async function netproxy(...args: string[]): Promise<Outcome> {
  const terminal = new FakeTerminal();
  const code = await main(args, terminal);
  return { code, out: terminal.stdout, err: terminal.stderr };
}
