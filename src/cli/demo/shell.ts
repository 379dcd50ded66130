/** A guest that runs shell scripts, with the real programs that it has: udhcpc, ping, dig, curl. */
import type { Transfer } from './guest.js';
import { parseReceipt } from './transfer.js';

export interface ScriptResult {
  readonly code: number;
  readonly output: string;
}

/** Runs a script in the guest. */
export type Shell = (script: string) => Promise<ScriptResult>;

/** Runs a script and rejects with the end of its output where its code is not 0. */
export async function check(shell: Shell, script: string): Promise<string> {
  const { code, output } = await shell(script);
  if (code === 0) return output.trimEnd();
  const last = output.trimEnd().split('\n').at(-1) ?? '';
  throw new Error(last === '' ? `exit code ${code}` : last);
}

/** `ping`, the program or busybox's. */
export async function shellPing(shell: Shell, ping: string, ip: string): Promise<number> {
  const output = await check(shell, `${ping} -c 3 -W 2 ${ip}`);
  const times = [...output.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  if (times.length === 0) throw new Error(`no answer from ${ip}`);
  return Math.min(...times);
}

/** `dig` at the guest's own name server. */
export async function shellResolve(shell: Shell, name: string): Promise<string> {
  const output = await check(shell, `dig +short +tries=2 +time=3 ${name} A`);
  const ip = output.split('\n').find((line) => /^\d+\.\d+\.\d+\.\d+$/.test(line));
  if (ip === undefined) throw new Error(`${name} has no address`);
  return ip;
}

/** curl into a file in memory, then its digest: the time is curl's alone. */
export async function shellDownload(shell: Shell, file: string, url: string): Promise<Transfer> {
  const output = await check(
    shell,
    `curl -sS -o ${file} -w '%{time_total} %{size_download}\\n' ${url} && sha256sum ${file}`,
  );
  const match = /^([\d.]+) (\d+)\n([0-9a-f]{64}) /m.exec(output);
  if (match === null) throw new Error(`unexpected output ${JSON.stringify(output.slice(-80))}`);
  return { ms: Number(match[1]) * 1000, bytes: Number(match[2]), sha256: match[3]! };
}

/** curl sends the file that came down; the server's receipt has the digest. */
export async function shellUpload(shell: Shell, file: string, url: string): Promise<Transfer> {
  const output = await check(shell, `curl -sS -T ${file} -H Expect: -w '%{time_total}\\n' ${url}`);
  const [receipt = '', seconds = ''] = output.split('\n');
  return { ms: Number(seconds) * 1000, ...parseReceipt(receipt) };
}

/** curl to a closed port: ms until it was refused. */
export async function shellRefused(shell: Shell, url: string): Promise<number> {
  const { code, output } = await shell(`curl -sS -o /dev/null --max-time 10 -w '%{time_total}\\n' ${url}`);
  // curl 7: could not connect.
  if (code === 7 && /refused|Couldn't connect|Could not connect/i.test(output)) {
    return Number(/^([\d.]+)$/m.exec(output)?.[1] ?? 0) * 1000;
  }
  throw new Error(code === 0 ? 'it was accepted' : output.trimEnd().split('\n').at(-1));
}
