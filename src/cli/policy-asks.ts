/** `netproxy policy asks | answer | learn`: what waits for somebody, and what a run needed. */
import type { ApiQuestion } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { EXIT } from './exit.js';
import { checkId } from './policy.js';
import { printList } from './remote-lists.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import type { Column } from './table.js';
import type { Terminal } from './terminal.js';

export interface AnswerOptions extends RemoteOptions {
  readonly remember?: boolean | undefined;
}

const COLUMNS: readonly Column<ApiQuestion>[] = [
  ['ID', ({ id }) => id, 'right'],
  ['GUEST', ({ guest }) => guest],
  ['PROTO', ({ protocol }) => protocol],
  ['FROM', ({ source }) => source],
  ['TO', (question) => target(question)],
  ['RULE', ({ rule }) => rule],
];

/** Prints the flows that wait for an answer. */
export async function asks(options: RemoteOptions, terminal: Terminal): Promise<number> {
  await withClient(options, (client) => printList(client.asks(), COLUMNS, options, terminal));
  return EXIT.ok;
}

function target({ address, port, name }: ApiQuestion): string {
  return `${address}${port === undefined ? '' : `:${port}`}${name === undefined ? '' : ` (${name})`}`;
}

/** `build reach 198.51.100.1:443 (www.example) by tcp, question 17`. */
export function describeQuestion(question: ApiQuestion): string {
  const { id, guest, protocol } = question;
  return `${guest} reach ${target(question)} by ${protocol}, question ${id}`;
}

/** Answers for flows that wait, one after the other. */
export async function answer(
  verdict: string,
  ids: readonly string[],
  options: AnswerOptions,
  terminal: Terminal,
): Promise<number> {
  const said = checkFlag('answer', field.oneOf('allow', 'deny'), verdict);
  const checked = ids.map((id) => checkId('answer', id));
  await withClient(options, async (client) => {
    for (const id of checked) {
      await client.answer(id, { verdict: said, remember: options.remember });
      if (options.json === true) jsonLine(terminal, { id, verdict: said });
      else terminal.out(`question ${id}: ${said}\n`);
    }
  });
  return EXIT.ok;
}

/** Prints the rules that the flows so far needed, as a section of the configuration file. */
export async function learn(options: RemoteOptions, terminal: Terminal): Promise<number> {
  const learned = await withClient(options, async (client) => {
    const so = await client.learned();
    if (so.log !== 'all') await client.setPolicy({ log: 'all' });
    return so;
  });
  if (learned.log !== 'all') terminal.err('netproxy looks at all flows from now on; ask again later.\n');
  if (options.json === true) jsonLine(terminal, learned);
  else if (learned.rules.length > 0)
    terminal.out(
      `policy:\n  default: deny\n  rules:\n${learned.rules.map((rule) => `    - ${rule}\n`).join('')}`,
    );
  return EXIT.ok;
}
