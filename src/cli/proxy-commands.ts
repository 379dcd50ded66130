/** `netproxy proxy …`: the HTTP proxy's settings of a running netproxy. */
import type { Command } from 'commander';
import type { ApiProxy, ApiProxyChoice } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { EXIT, usageError } from './exit.js';
import { type RemoteOptions, jsonLine, remoteFlags, withClient } from './remote.js';
import { type Done, examples } from './remote-commands.js';
import { type Column, formatTable } from './table.js';
import type { Terminal } from './terminal.js';

interface SetOptions extends RemoteOptions {
  readonly https?: string[];
  readonly exclude?: string[];
  readonly pac?: string;
  readonly keep?: boolean;
}

/** Adds the commands; `done` takes the exit code of one. */
export function proxyCommands(program: Command, terminal: Terminal, done: Done): void {
  const group = program
    .command('proxy')
    .description('the HTTP proxy of a running netproxy: whom requests go to')
    .usage('[show] | set URL… | clear | explain URL');
  const showing = group
    .command('show', { isDefault: true })
    .description('tell whom requests go to, who says so, and how the upstreams do');
  remoteFlags(showing, 'as one JSON object');
  examples(showing, 'netproxy proxy show', 'netproxy proxy show --json');
  showing.action(async (options: RemoteOptions) => {
    done(await show(options, terminal));
  });
  setCommand(group, terminal, done);
  const clearing = group
    .command('clear')
    .description('take back what was set: configuration, file, environment and system hold again');
  remoteFlags(clearing, undefined);
  examples(clearing, 'netproxy proxy clear');
  clearing.action(async (options: RemoteOptions) => {
    done(await clear(options, terminal));
  });
  const explaining = group
    .command('explain')
    .description('tell whom a request would go to, and why')
    .argument('<url>', 'URL with http, https, ws or wss, or HOST:PORT');
  remoteFlags(explaining, 'as one JSON object');
  examples(explaining, 'netproxy proxy explain https://example.org/');
  explaining.action(async (url: string, options: RemoteOptions) => {
    done(await explain(url, options, terminal));
  });
}

function setCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('set')
    .description('set the proxies, before all other settings, until clear or the end of netproxy')
    .argument('[url...]', 'upstreams in the order in which they are tried, as for --http-proxy; or direct')
    .option('--https <url...>', 'for CONNECT (default: the same)')
    .option('--exclude <list...>', 'what goes past them: example.org,10.0.0.0/8,<local>')
    .option('--pac <url>', 'proxy auto-config file: a path of the running netproxy, or a URL')
    .option('--keep', 'what is not given stays what it is at this moment');
  remoteFlags(command, 'the settings then, as one JSON object');
  examples(
    command,
    'netproxy proxy set http://proxy.corp:3128 --exclude .corp,10.0.0.0/8',
    'netproxy proxy set --keep --exclude .corp',
    'netproxy proxy set direct',
  );
  command.action(async (urls: string[], options: SetOptions) => {
    done(await set(urls, options, terminal));
  });
}

const UPSTREAMS: readonly Column<ApiProxy['upstreams'][number]>[] = [
  ['UPSTREAM', ({ name }) => name],
  ['STATE', ({ state }) => state],
  ['CONNECTIONS', ({ connections }) => connections, 'right'],
  ['FAILURES', ({ failures }) => failures, 'right'],
  ['REQUESTS', ({ requests }) => requests, 'right'],
  ['CONNECT', ({ connectMillis }) => millis(connectMillis), 'right'],
  ['ANSWER', ({ answerMillis }) => millis(answerMillis), 'right'],
];

async function show(options: RemoteOptions, terminal: Terminal): Promise<number> {
  const proxy = await withClient(options, (client) => client.proxy());
  if (options.json === true) jsonLine(terminal, proxy);
  else print(proxy, terminal);
  return EXIT.ok;
}

function print(
  { from, http, https, noProxy, pac, sources, credentials, upstreams }: ApiProxy,
  terminal: Terminal,
) {
  const line = (what: string, value: string): void => terminal.out(`${`${what}:`.padEnd(13)}${value}\n`);
  line('settings', from);
  if (sources.length > 1) line('behind it', sources.slice(1).join(', '));
  line('http', http.join(', ') || 'direct');
  line('https', https.join(', ') || 'direct');
  if (noProxy.length > 0) line('past them', noProxy.join(' '));
  if (pac !== undefined)
    line('pac', `${pac.where}: ${pac.state}${pac.trouble === undefined ? '' : `: ${pac.trouble}`}`);
  if (credentials !== undefined) line('credentials', `of the ${credentials}, where the URL has none`);
  if (upstreams.length > 0) for (const row of ['\n', ...formatTable(upstreams, UPSTREAMS)]) terminal.out(row);
}

async function set(urls: readonly string[], options: SetOptions, terminal: Terminal): Promise<number> {
  const { https, exclude, pac, keep } = options;
  const choice: ApiProxyChoice = {
    ...(urls.length === 0 ? {} : { http: urls.map((url) => checkFlag('set', field.upstream, url)) }),
    ...(https === undefined ? {} : { https: https.map((url) => checkFlag('--https', field.upstream, url)) }),
    ...(exclude === undefined
      ? {}
      : { noProxy: exclude.map((one) => checkFlag('--exclude', field.noProxy, one)) }),
    ...(pac === undefined ? {} : { pac: checkFlag('--pac', field.pac, pac) }),
  };
  if (Object.keys(choice).length === 0)
    throw usageError('proxy set needs an upstream', 'Name one, --pac, or direct.');
  const proxy = await withClient(options, (client) =>
    keep === true ? client.changeProxy(choice) : client.setProxy(choice),
  );
  if (options.json === true) jsonLine(terminal, proxy);
  else print(proxy, terminal);
  return EXIT.ok;
}

async function clear(options: RemoteOptions, terminal: Terminal): Promise<number> {
  const { from } = await withClient(options, async (client) => {
    await client.clearProxy();
    return client.proxy();
  });
  terminal.out(`cleared; now: ${from}\n`);
  return EXIT.ok;
}

async function explain(url: string, options: RemoteOptions, terminal: Terminal): Promise<number> {
  const told = await withClient(options, (client) => client.explainProxy(url));
  if (options.json === true) jsonLine(terminal, told);
  else {
    const where = told.refused === undefined ? told.upstreams.join(', then ') : `refused: ${told.refused}`;
    terminal.out(`${told.url}\n  ${where}\n  ${told.why}\n`);
  }
  return EXIT.ok;
}

function millis(value: number | undefined): string {
  return value === undefined ? '-' : `${value} ms`;
}
