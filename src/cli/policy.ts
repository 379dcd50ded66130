/** `netproxy policy …`: rules of a running netproxy, and what they decided. */
import type { ApiClient, ApiDecision } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { formatAudit } from '../policy/index.js';
import { EXIT } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import { type Column, formatTable } from './table.js';
import type { Terminal } from './terminal.js';

export interface ChangeOptions extends RemoteOptions {
  readonly end?: boolean | undefined;
}

export interface AddOptions extends ChangeOptions {
  readonly before?: string | undefined;
  readonly first?: boolean | undefined;
}

export interface LogOptions extends RemoteOptions {
  readonly follow?: boolean | undefined;
  readonly guest?: string | undefined;
  readonly tell?: string | undefined;
}

interface Row {
  readonly id: string;
  readonly rule: string;
  readonly decided: number;
}

const ROWS: readonly Column<Row>[] = [
  ['ID', ({ id }) => id, 'right'],
  ['RULE', ({ rule }) => rule],
  ['DECIDED', ({ decided }) => decided, 'right'],
];

/** Prints the rules with how often each decided. */
export async function list(options: RemoteOptions, terminal: Terminal): Promise<number> {
  const policy = await withClient(options, (client) => client.policy());
  if (options.json === true) {
    jsonLine(terminal, policy);
    return EXIT.ok;
  }
  const { rules, decisions, default: otherwise } = policy;
  const texts = new Set(rules.map(({ rule }) => rule));
  const builtin = Object.keys(decisions).filter((rule) => rule !== 'default' && !texts.has(rule));
  const rows: Row[] = [
    ...rules.map(({ id, ...rest }) => ({ id: String(id), ...rest })),
    ...builtin.map((rule) => ({ id: '-', rule, decided: decisions[rule] ?? 0 })),
    { id: '-', rule: `default: ${otherwise}`, decided: decisions['default'] ?? 0 },
  ];
  for (const line of formatTable(rows, ROWS)) terminal.out(line);
  return EXIT.ok;
}

/** Adds rules, in the order in which they stand; what was added before one fails stays. */
export async function add(
  rules: readonly string[],
  options: AddOptions,
  terminal: Terminal,
): Promise<number> {
  const checked = rules.map((rule) => checkFlag('policy', field.rule, rule));
  const { end } = options;
  await withClient(options, async (client) => {
    const before = await placeOf(client, options);
    for (const rule of checked) {
      const added = await client.addRule({ rule, before, end });
      if (options.json === true) jsonLine(terminal, added);
      else terminal.out(`${added.rule} (id ${added.id})\n`);
    }
  });
  return EXIT.ok;
}

async function placeOf(client: ApiClient, { before, first }: AddOptions): Promise<number | undefined> {
  if (before !== undefined) return checkId('--before', before);
  return first === true ? (await client.policy()).rules[0]?.id : undefined;
}

export function checkId(flag: string, text: string): number {
  return checkFlag(flag, field.whole('', 1, Number.MAX_SAFE_INTEGER), Number(text));
}

export async function remove(
  ids: readonly string[],
  options: ChangeOptions,
  terminal: Terminal,
): Promise<number> {
  const checked = ids.map((id) => checkId('remove', id));
  await withClient(options, async (client) => {
    for (const id of checked) {
      await client.removeRule(id, { end: options.end });
      if (options.json === true) jsonLine(terminal, { removed: id });
      else terminal.out(`removed rule ${id}\n`);
    }
  });
  return EXIT.ok;
}

export async function setDefault(
  action: string,
  options: ChangeOptions,
  terminal: Terminal,
): Promise<number> {
  const wanted = checkFlag('default', field.oneOf('allow', 'deny', 'ask'), action);
  const policy = await withClient(options, (client) =>
    client.setPolicy({ default: wanted, end: options.end }),
  );
  if (options.json === true) jsonLine(terminal, policy);
  else terminal.out(`default: ${policy.default}\n`);
  return EXIT.ok;
}

/** Prints the audit log, and with --follow what is decided from then on. */
export async function log(options: LogOptions, terminal: Terminal): Promise<number> {
  const guest =
    options.guest === undefined ? undefined : checkFlag('--guest', field.guestName, options.guest);
  const tell =
    options.tell === undefined ? undefined : checkFlag('--tell', field.oneOf('denied', 'all'), options.tell);
  await withClient(options, async (client) => {
    if (tell !== undefined) {
      await client.setPolicy({ log: tell });
      return;
    }
    let last = 0;
    const print = (decision: ApiDecision): void => {
      if (decision.id <= last || (guest !== undefined && decision.guest !== guest)) return;
      last = decision.id;
      if (options.json === true) jsonLine(terminal, decision);
      else terminal.out(`${decision.time.slice(11, 23)} ${formatAudit(decision)}\n`);
    };
    if (options.follow !== true) {
      for await (const decision of client.decisions({ guest })) print(decision);
      return;
    }
    await followed(client, guest, print);
  });
  return EXIT.ok;
}

/** What was decided, and then what is: the stream is open before the list is read, so that nothing falls in between. */
async function followed(
  client: ApiClient,
  guest: string | undefined,
  print: (decision: ApiDecision) => void,
): Promise<void> {
  let opened: () => void = () => undefined;
  const open = new Promise<void>((resolve) => (opened = resolve));
  const events = client.events({ types: ['decision'], opened: () => opened() });
  const first = events.next();
  await Promise.race([open, first]);
  for await (const decision of client.decisions({ guest })) print(decision);
  for (let next = await first; next.done !== true; next = await events.next())
    if (next.value.event === 'decision') print(next.value.decision);
}
