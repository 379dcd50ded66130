/** Runs probe.mjs, the small clients that no packaged program is. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Proc } from '../support/process.js';
import type { Lab } from './lab.js';
import type { Endpoint } from './servers.js';

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'probe.mjs');

export type ProbeRequest =
  /** One SNTP request. */
  | { readonly mode: 'ntp'; readonly address: string }
  /** A connected UDP socket: the answer, or the error that ICMP brought. */
  | (Endpoint & {
      readonly mode: 'udpConnected';
      readonly bytes?: number;
      readonly tries?: number;
      readonly timeoutMs?: number;
    })
  /** Which kind of NAT we are behind, by servers of mode `stunServer`. */
  | { readonly mode: 'natBehaviour'; readonly servers: readonly Endpoint[] }
  | (Endpoint & { readonly mode: 'stunServer'; readonly other: string })
  /** A stream of datagrams to an echo. */
  | (Endpoint & {
      readonly mode: 'duplex';
      readonly bytes: number;
      readonly rate: number;
      readonly ms: number;
    })
  /** Multicast; `address` is that of the interface. */
  | (Endpoint & { readonly mode: 'joinGroup'; readonly group: string; readonly ms?: number })
  | (Endpoint & { readonly mode: 'sendGroup'; readonly group: string; readonly text: string })
  /** One datagram from each of many ports. */
  | (Endpoint & { readonly mode: 'manyPorts'; readonly count: number; readonly perSecond: number })
  /** Reads to the FIN, then still sends. */
  | (Endpoint & { readonly mode: 'late'; readonly bytes: number; readonly holdMs?: number })
  /** Dials that are given up before anybody answered. */
  | (Endpoint & { readonly mode: 'giveUp'; readonly count?: number; readonly holdMs?: number })
  /** Queries for `millis`, one each `interval` ms: `answered`, `lost`, `p50`, `p99` (ms). */
  | { readonly mode: 'dns'; readonly address: string; readonly millis: number; readonly interval: number }
  /** A server for one connection: sends `bytes`, then FIN or RST. */
  | (Endpoint & { readonly mode: 'takeOne'; readonly bytes?: number; readonly reset?: boolean });

export type ProbeResult = Readonly<Record<string, unknown>>;

export function startProbe(lab: Lab, request: ProbeRequest, netns = lab.guest): Proc {
  return lab.spawn(netns, [process.execPath, SCRIPT, JSON.stringify(request)], {
    stdin: 'ignore',
    label: `probe ${request.mode}`,
  });
}

export async function probeResult(proc: Proc, timeoutMs = 60_000): Promise<ProbeResult> {
  await proc.waitExit(timeoutMs);
  const line = proc.stdout.trimEnd().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(proc.describe());
  return JSON.parse(line) as ProbeResult;
}

/** Runs it to its end, by default in the lab's guest. */
export async function probe(
  lab: Lab,
  request: ProbeRequest,
  netns = lab.guest,
  timeoutMs?: number,
): Promise<ProbeResult> {
  const proc = startProbe(lab, request, netns);
  try {
    return await probeResult(proc, timeoutMs);
  } finally {
    await proc.kill('SIGKILL');
  }
}
