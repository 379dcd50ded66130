/** Commands that ask a running netproxy: where it is, and the client to it. */
import { type Command, Option } from 'commander';
import { readToken } from '../api/index.js';
import { type ApiClient, connectApi } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import type { Terminal } from './terminal.js';

/** What every such command takes. */
export interface RemoteOptions {
  readonly api?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly json?: boolean | undefined;
}

const WHERE =
  'control API of a running netproxy: unix:/PATH or tcp:HOST:PORT (default: $NETPROXY_API, else /run/netproxy.sock as root, else $XDG_RUNTIME_DIR/netproxy.sock)';

/** Adds the flags; `json` says what --json gives, undefined: there is no such flag. */
export function remoteFlags(command: Command, json: string | undefined, api = WHERE): void {
  command.addOption(new Option('--api <address>', api));
  command.addOption(
    new Option('--token-file <file>', 'token for --api tcp:… (default: $NETPROXY_TOKEN_FILE)'),
  );
  if (json !== undefined) command.addOption(new Option('--json', json));
}

/** Runs a command with a client of the netproxy that its flags name. */
export async function withClient<T>(
  options: RemoteOptions,
  use: (client: ApiClient) => Promise<T>,
): Promise<T> {
  const address = options.api ?? process.env['NETPROXY_API'];
  const file = options.tokenFile ?? process.env['NETPROXY_TOKEN_FILE'];
  const client = connectApi({
    address: address === undefined ? undefined : checkFlag('--api', field.apiAddress, address),
    token: file === undefined ? undefined : readToken(file),
  });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** One JSON value on a line. */
export function jsonLine(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value)}\n`);
}
