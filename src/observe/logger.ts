/** The logs: text for people or JSON lines for machines, on stderr (stdout may carry frames or results). */
import pc from 'picocolors';
import type { Clock, LogFields, Logger, LogLevel } from '../core/index.js';

const RANK = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const;

/** Least level that is shown. */
export type LogThreshold = keyof typeof RANK;
export const LOG_LEVELS = Object.keys(RANK) as readonly LogThreshold[];
export const LOG_FORMATS = ['text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  /** An object may be changed while the logger works. Default `info`. */
  readonly level?: LogThreshold | { readonly level: LogThreshold };
  readonly format?: LogFormat;
  readonly color?: boolean;
  /** Milliseconds since 1970. */
  readonly wall?: () => number;
  /** Gets each line with its newline. Default: stderr. */
  readonly write?: (line: string) => void;
}

/** Makes a logger. Writing never throws: a log that nobody can read must not stop the network. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const { level = 'info', format = 'text', color = false, wall = Date.now } = options;
  const threshold = typeof level === 'string' ? { level } : level;
  const write = options.write ?? ((line) => process.stderr.write(line));
  const render = format === 'json' ? renderJson : (...args: RenderArgs) => renderText(color, ...args);
  const log = (of: LogLevel) => (message: string, fields?: LogFields) => {
    if (RANK[of] < RANK[threshold.level]) return;
    try {
      write(`${render(new Date(wall()), of, message, fields)}\n`);
    } catch {
      // Stderr is gone.
    }
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** A logger that adds fields to every line. */
export function withFields(logger: Logger, fields: LogFields): Logger {
  const log = (of: LogLevel) => (message: string, more?: LogFields) => {
    logger[of](message, { ...fields, ...more });
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** Keys that a rate limit remembers at most; the oldest is forgotten. */
export const LOG_KEYS = 256;

/** Logs at most once per `ms` and key; the next line tells how many were left out, as `suppressed`. */
export type LogEvery = (
  key: string,
  ms: number,
  level: LogLevel,
  message: string,
  fields?: LogFields,
) => void;

export function createLogEvery(logger: Logger, clock: Clock): LogEvery {
  const seen = new Map<string, { until: number; suppressed: number }>();
  return (key, ms, level, message, fields) => {
    const now = clock.now();
    const entry = seen.get(key);
    if (entry !== undefined && now < entry.until) {
      entry.suppressed++;
      return;
    }
    seen.delete(key);
    const [oldest] = seen.keys();
    if (seen.size >= LOG_KEYS && oldest !== undefined) seen.delete(oldest);
    seen.set(key, { until: now + ms, suppressed: 0 });
    const suppressed = entry?.suppressed ?? 0;
    logger[level](message, suppressed > 0 ? { ...fields, suppressed } : fields);
  };
}

type RenderArgs = [time: Date, level: LogLevel, message: string, fields: LogFields | undefined];

const COLORS = { debug: 'dim', info: 'cyan', warn: 'yellow', error: 'red' } as const;

function renderText(color: boolean, ...[time, level, message, fields]: RenderArgs): string {
  const paint = pc.createColors(color);
  const clock = time.toISOString().slice(11, 23);
  const pairs = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${textOf(value)}`);
  const label = paint[COLORS[level]](level.padEnd(5));
  return `${paint.dim(clock)} ${label} ${printable(message)}${paint.dim(pairs.join(''))}`;
}

function renderJson(...[time, level, message, fields]: RenderArgs): string {
  const entry: Record<string, unknown> = { time: time.toISOString(), level, message };
  for (const [key, value] of Object.entries(fields ?? {})) if (!(key in entry)) entry[key] = value;
  try {
    return JSON.stringify(entry, (_, value: unknown) => plain(value));
  } catch {
    return JSON.stringify({ time: entry['time'], level, message });
  }
}

/** What JSON has no word for. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (!(value instanceof Error)) return value;
  const { code } = value as NodeJS.ErrnoException;
  return code === undefined ? { message: value.message } : { message: value.message, code };
}

function textOf(value: unknown): string {
  if (value instanceof Error) return quote(value.message);
  if (typeof value === 'string') return quote(value);
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return printable(JSON.stringify(value, (_, inner: unknown) => plain(inner)));
  } catch {
    return '?';
  }
}

function quote(value: string): string {
  return /^[\w./:@%+-]+$/.test(value) ? value : JSON.stringify(printable(value));
}

/** Guests choose names: no control character of theirs reaches a terminal or begins a line of its own. */
function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
