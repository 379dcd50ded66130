/** `netproxy explain`: what would become of a flow, by the function that decides about flows. */
import { explanationOf } from '../api/index.js';
import type { ApiExplanation } from '../client/index.js';
import { type Config, field, networkConfig, checkFlag } from '../config/index.js';
import { type ExplainQuery, createNetwork } from '../index.js';
import { EXIT, usageError } from './exit.js';
import { type RemoteOptions, withClient } from './remote.js';
import type { Terminal } from './terminal.js';

export interface ExplainOptions extends RemoteOptions {
  readonly guest?: string | undefined;
  readonly protocol?: string | undefined;
}

export interface Target {
  readonly host: string;
  readonly port: number | undefined;
}

/** Reads `IP`, `NAME`, `IP:PORT` or `NAME:PORT`; throws ERR_NETPROXY_CONFIG. */
export function parseTarget(text: string): Target {
  const match = /^([A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  if (match?.[1] === undefined || (port !== undefined && (port < 1 || port > 65_535))) {
    throw usageError(
      `"${text}" is no destination`,
      'Allowed: IPv4 address or name, with a port or without: 10.0.0.1, example.org:443.',
    );
  }
  return { host: match[1], port };
}

/** Prints decision, rule and reason: of the running netproxy that --api names, else by the flags and the file alone. */
export async function explain(
  config: Config,
  text: string,
  options: ExplainOptions,
  terminal: Terminal,
): Promise<number> {
  const target = parseTarget(text);
  const protocol = checkFlag('--protocol', field.oneOf('tcp', 'udp', 'icmp'), options.protocol ?? 'tcp');
  const guest = options.guest === undefined ? 'guest1' : checkFlag('--guest', field.guestName, options.guest);
  if (protocol === 'icmp' && target.port !== undefined)
    throw usageError('icmp has no ports', 'Leave the port out.');
  const query = { host: target.host, port: target.port, protocol, guest };
  const explanation =
    options.api === undefined
      ? await offline(config, query)
      : await withClient(options, (client) => client.explain(query));
  if (options.json === true) {
    terminal.out(`${JSON.stringify({ target: text, ...target, protocol, guest, ...explanation })}\n`);
  } else {
    const name = target.host === explanation.address ? '' : `${target.host} is `;
    const port = target.port === undefined ? '' : `:${target.port}`;
    terminal.out(
      `${name}${explanation.address}${port} (${protocol}) from ${guest}: ${outcome(explanation)}\n  rule: ${explanation.rule}\n  why:  ${explanation.why}\n${routeLine(explanation)}`,
    );
  }
  return EXIT.ok;
}

function routeLine({ route }: ApiExplanation): string {
  return route === undefined ? '' : `  by:   ${route.upstreams.join(', else ')}: ${route.why}\n`;
}

async function offline(config: Config, query: ExplainQuery): Promise<ApiExplanation> {
  // Nothing is published for an explanation.
  await using network = createNetwork({ ...networkConfig(config), publish: [] });
  return explanationOf(await network.explain(query));
}

const DENIED = {
  reset: 'refused, like a closed port',
  prohibited: 'denied, the guest is told so',
  unreachable: 'denied, as an address that nobody has',
  silent: 'denied without an answer',
} as const;

function outcome({ verdict, service, via, to, how, route }: ApiExplanation): string {
  switch (verdict) {
    case 'service':
      return `answered by the ${service ?? ''} service`;
    case 'dial':
      if (route !== undefined) return 'allowed; intercepted by the HTTP proxy';
      if (via === 'redirect') return `led to ${to ?? ''}`;
      return via === 'alias' ? "allowed; the host's loopback is dialled" : 'allowed; dialled directly';
    case 'ask':
      return 'somebody is asked';
    case 'deny':
      return DENIED[how ?? 'prohibited'];
  }
}
