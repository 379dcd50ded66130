/** `netproxy dns explain` and `netproxy dns log`. */
import type { ApiDnsAnswer, ApiDnsExplanation } from '../client/index.js';
import { type Config, checkFlag, field, networkConfig } from '../config/index.js';
import { Rcode } from '../dns/index.js';
import { createNetwork } from '../index.js';
import { EXIT } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import { lastOf } from './remote-streams.js';
import type { Terminal } from './terminal.js';

/** Prints the way of a name: of the running netproxy that --api names, else by the flags and the file alone. */
export async function explainName(
  config: Config,
  name: string,
  type: string,
  options: RemoteOptions,
  terminal: Terminal,
): Promise<number> {
  const checked = checkFlag('<name>', field.dnsName, name);
  const explanation =
    options.api === undefined
      ? await offline(config, checked, type)
      : await withClient(options, (client) => client.explainName(checked, type));
  if (options.json === true) {
    jsonLine(terminal, explanation);
    return EXIT.ok;
  }
  const { steps, rcode, answers } = explanation;
  for (const { source, answers: last, detail } of steps)
    terminal.out(`${source.padEnd(8)}${last ? '* ' : '  '}${detail}\n`);
  terminal.out(`${rcode ?? 'no answer'}\n`);
  for (const record of answers) terminal.out(`  ${record}\n`);
  return EXIT.ok;
}

async function offline(config: Config, name: string, type: string): Promise<ApiDnsExplanation> {
  // Nothing is published for an explanation.
  await using network = createNetwork({ ...networkConfig(config), publish: [] });
  const { steps, answers, rcode, ...told } = await network.dns.explain({ name, type });
  return { ...told, steps: [...steps], answers: [...answers], ...(rcode === undefined ? {} : { rcode }) };
}

export interface DnsLogFlags extends RemoteOptions {
  readonly follow?: boolean | undefined;
  readonly last?: string | undefined;
  readonly guest?: string | undefined;
}

/** Prints what guests were answered lately, and with --follow what they are from now on. */
export async function dnsLog(options: DnsLogFlags, terminal: Terminal): Promise<number> {
  const guest =
    options.guest === undefined ? undefined : checkFlag('--guest', field.guestName, options.guest);
  const wanted = { guest, last: lastOf(options), follow: options.follow === true };
  await withClient(options, async (client) => {
    for await (const answer of client.dnsLog(wanted)) {
      if (options.json === true) jsonLine(terminal, answer);
      else terminal.out(`${lineOf(answer)}\n`);
    }
  });
  return EXIT.ok;
}

const RCODES = new Map<number, string>(Object.entries(Rcode).map(([name, rcode]) => [rcode, name]));

function lineOf({ time, guest, name, type, rcode, answers, source, server, millis }: ApiDnsAnswer): string {
  const who = server === undefined ? source : `${source} ${server}`;
  const what = `${RCODES.get(rcode) ?? rcode}${answers === 0 ? '' : ` (${answers})`}`;
  return `${time.slice(11, 23)} ${guest} ${name === '' ? '.' : name} ${type}: ${what} by ${who}, ${millis.toFixed(1)} ms`;
}
