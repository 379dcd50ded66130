/** What the demo and its agent in the namespace say to each other: JSON lines over a unix socket. */
import type { Transfer } from './guest.js';

/** What the agent can be asked, and what it answers. */
export interface AgentCalls {
  /** Runs a shell script; its output is stdout and stderr together. */
  exec: {
    readonly ask: { readonly script: string };
    readonly answer: { readonly code: number; readonly output: string };
  };
  lease: { readonly ask: { readonly gateway: string }; readonly answer: { readonly ip: string } };
  ping: { readonly ask: { readonly ip: string }; readonly answer: { readonly ms: number } };
  resolve: { readonly ask: { readonly name: string }; readonly answer: { readonly ip: string } };
  refused: {
    readonly ask: { readonly ip: string; readonly port: number };
    readonly answer: { readonly ms: number };
  };
  download: { readonly ask: TransferAsk; readonly answer: Transfer };
  upload: { readonly ask: TransferAsk; readonly answer: Transfer };
  udp: {
    readonly ask: { readonly ip: string; readonly port: number; readonly count: number };
    readonly answer: { readonly back: number };
  };
  serve: { readonly ask: { readonly port: number; readonly text: string }; readonly answer: object };
}

interface TransferAsk {
  readonly ip: string;
  readonly port: number;
  readonly bytes: number;
}

export type AgentVerb = keyof AgentCalls;

export interface AgentRequest {
  readonly id: number;
  readonly verb: AgentVerb;
  readonly ask: unknown;
}

export type AgentReply =
  { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly error: string };

/** Calls back for each line of a stream of text chunks. */
export function byLine(take: (line: string) => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  };
}
