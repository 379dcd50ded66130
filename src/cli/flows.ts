/** `netproxy flows`: who talks to whom in a running netproxy. */
import type { ApiFlow, FlowFilter } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { formatTcpInfo } from '../index.js';
import { formatBytes, formatDuration } from '../observe/index.js';
import { EXIT } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import { printList } from './remote-lists.js';
import type { Column } from './table.js';
import type { Terminal } from './terminal.js';

export interface FlowsOptions extends RemoteOptions {
  readonly tcp?: boolean | undefined;
  readonly kill?: string | undefined;
  readonly guest?: string | undefined;
  readonly protocol?: string | undefined;
  readonly state?: string | undefined;
  readonly peer?: string | undefined;
}

const COLUMNS: readonly Column<ApiFlow>[] = [
  ['ID', ({ id }) => id, 'right'],
  ['PROTO', ({ protocol }) => protocol],
  ['DIR', ({ direction }) => direction],
  ['GUEST', ({ guest }) => guest],
  ['GUEST ADDRESS', ({ guestAddress }) => guestAddress],
  ['PEER', ({ peer }) => peer],
  ['STATE', ({ state }) => state],
  ['TO HOST', ({ bytesToHost }) => formatBytes(bytesToHost), 'right'],
  ['TO GUEST', ({ bytesToGuest }) => formatBytes(bytesToGuest), 'right'],
  ['AGE', ({ age }) => formatDuration(age), 'right'],
];

/** Prints the flows that fit, or ends one. */
export async function flows(options: FlowsOptions, terminal: Terminal): Promise<number> {
  if (options.kill !== undefined) return kill(options.kill, options, terminal);
  const tcp = options.tcp === true;
  const filter: FlowFilter = {
    guest: options.guest,
    protocol:
      options.protocol === undefined
        ? tcp
          ? 'tcp'
          : undefined
        : checkFlag('--protocol', field.oneOf('tcp', 'udp'), options.protocol),
    state: options.state,
    peer: options.peer,
    tcp: tcp || undefined,
  };
  const details = ({ tcp: info }: ApiFlow): string | undefined =>
    info === undefined ? undefined : formatTcpInfo(info);
  await withClient(options, (client) => printList(client.flows(filter), COLUMNS, options, terminal, details));
  return EXIT.ok;
}

async function kill(text: string, options: FlowsOptions, terminal: Terminal): Promise<number> {
  const id = checkFlag('--kill', field.whole('', 1, Number.MAX_SAFE_INTEGER), Number(text));
  await withClient(options, (client) => client.killFlow(id));
  if (options.json === true) jsonLine(terminal, { killed: id });
  else terminal.out(`flow ${id} was ended\n`);
  return EXIT.ok;
}
