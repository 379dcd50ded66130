/** iperf3 between a guest and the host side, read from its JSON. */
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import type { Lab } from './lab.js';

export interface IperfResult {
  /** How many flows there were, and what each moved, in bytes. */
  readonly flows: readonly number[];
  /** Received, bits per second, all flows together. */
  readonly bitsPerSecond: number;
  readonly seconds: number;
}

interface IperfReport {
  readonly error?: string;
  readonly end: {
    readonly streams: readonly { readonly receiver: { readonly bytes: number; readonly sender: boolean } }[];
    readonly sum_received: { readonly bits_per_second: number; readonly seconds: number };
  };
}

/** A server on the lab's first address; it ends with the lab. */
export async function iperfServer(lab: Lab, port = 5201): Promise<Proc> {
  const argv = ['iperf3', '-s', '-B', lab.address(), '-p', String(port), '--forceflush'];
  const proc = lab.spawn(lab.host, argv, { stdin: 'ignore' });
  await proc.waitFor(/Server listening/, 15_000);
  return proc;
}

/** Runs the client in the guest; fails when iperf3 does. `reverse`: from the host side to the guest. */
export async function iperf(
  lab: Lab,
  options: {
    readonly flows: number;
    readonly seconds: number;
    readonly reverse?: boolean;
    readonly port?: number;
  },
): Promise<IperfResult> {
  const { flows, seconds, reverse = false, port = 5201 } = options;
  const argv = [
    'iperf3',
    '-J',
    '-c',
    lab.address(),
    '-p',
    String(port),
    '-P',
    String(flows),
    '-t',
    String(seconds),
  ];
  if (reverse) argv.push('-R');
  const measure = async (): Promise<IperfReport | undefined> => {
    const output = await lab.exec(lab.guest, argv, { timeoutMs: (seconds + 60) * 1000 });
    const report = JSON.parse(output.stdout) as IperfReport;
    // The server takes one test at a time, and may still be at the end of the one before.
    if (/busy running a test/.test(report.error ?? '')) return undefined;
    if (report.error !== undefined || output.code !== 0)
      throw new Error(`iperf3: ${report.error ?? output.stderr}`);
    return report;
  };
  const report = await until(30_000, 'a free iperf3 server', measure, 500);
  const { streams, sum_received: sum } = report.end;
  return {
    flows: streams.map(({ receiver }) => receiver.bytes),
    bitsPerSecond: sum.bits_per_second,
    seconds: sum.seconds,
  };
}
