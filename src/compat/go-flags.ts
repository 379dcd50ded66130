/**
 * Flags as Go's `flag` package takes them: one dash or two, `-flag value` or `-flag=value`, switches alone or as
 * `-flag=false`; what is no flag, and everything behind `--`, ends them. Errors are in that package's words, because scripts
 * look for them.
 */
import { NetproxyError } from '../core/index.js';

/** A flag of a table: what its value is, and its line of the help. */
export interface GoFlag {
  readonly kind: 'string' | 'strings' | 'int' | 'bool';
  readonly help: string;
}

export type GoFlags = Readonly<Record<string, GoFlag>>;

type ValueOf<K extends GoFlag['kind']> = K extends 'bool'
  ? boolean
  : K extends 'int'
    ? number
    : K extends 'strings'
      ? readonly string[]
      : string;

/** What was given; flags that were not are absent. */
export type GoValues<T extends GoFlags> = { readonly [K in keyof T]?: ValueOf<T[K]['kind']> };

export interface GoArguments<T extends GoFlags> {
  readonly values: GoValues<T>;
  /** What stands behind the flags. */
  readonly rest: readonly string[];
  /** `-h`, `-help`: nothing behind it was looked at. */
  readonly help: boolean;
}

const TRUE: ReadonlySet<string> = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE: ReadonlySet<string> = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

function refuse(message: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', message, { remedy: 'The flag -help lists what there is.' });
}

/** Reads a command line; throws ERR_NETPROXY_CONFIG. */
export function parseGoFlags<T extends GoFlags>(flags: T, argv: readonly string[]): GoArguments<T> {
  const values: Record<string, string | number | boolean | string[]> = {};
  const done = (at: number, help = false): GoArguments<T> => ({
    values: values as GoValues<T>,
    rest: argv.slice(at),
    help,
  });
  for (let at = 0; at < argv.length;) {
    const word = argv[at]!;
    if (word.length < 2 || !word.startsWith('-')) return done(at);
    at++;
    if (word === '--') return done(at);
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(word);
    if (match === null) throw refuse(`bad flag syntax: ${word}`);
    const [, name = '', given] = match;
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (flag === undefined) {
      if (name === 'h' || name === 'help') return done(at, true);
      throw refuse(`flag provided but not defined: -${name}`);
    }
    const alone = flag.kind === 'bool' ? 'true' : argv[at];
    const text = given ?? alone;
    if (text === undefined) throw refuse(`flag needs an argument: -${name}`);
    if (given === undefined && flag.kind !== 'bool') at++;
    if (flag.kind === 'strings') values[name] = [...((values[name] as string[] | undefined) ?? []), text];
    else values[name] = valueOf(name, flag.kind, text);
  }
  return done(argv.length);
}

function valueOf(name: string, kind: 'string' | 'int' | 'bool', text: string): string | number | boolean {
  if (kind === 'string') return text;
  if (kind === 'bool') {
    if (TRUE.has(text)) return true;
    if (FALSE.has(text)) return false;
    throw refuse(`invalid boolean value "${text}" for -${name}: parse error`);
  }
  if (!/^[+-]?(\d+|0[xX][0-9a-fA-F]+)$/.test(text))
    throw refuse(`invalid value "${text}" for flag -${name}: parse error`);
  const value = text.startsWith('-') ? -Number(text.slice(1)) : Number(text);
  if (!Number.isSafeInteger(value))
    throw refuse(`invalid value "${text}" for flag -${name}: value out of range`);
  return value;
}

/** The lines about flags of a help. */
export function goUsage(flags: GoFlags): string {
  const KIND = { string: ' string', strings: ' value', int: ' int', bool: '' } as const;
  return Object.entries(flags)
    .map(([name, { kind, help }]) => `  -${name}${KIND[kind]}\n      ${help}\n`)
    .join('');
}
