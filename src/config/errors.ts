/** What is wrong with a configuration, in words: file and line, key, value, what is allowed. */
import type * as z from 'zod';
import { NetproxyError } from '../core/index.js';

/** How much of a value an error shows, characters. */
const SHOWN = 80;
/** How many faults of one file are listed. */
const LISTED = 10;

/** What zod says of a union that says nothing itself. */
const UNION = 'Invalid input';

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/** `links[0].address` */
export function formatPath(path: Path): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const key of path) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A value as an error shows it. */
export function showValue(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A cycle, by an alias of YAML.
  }
  text ??= String(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text;
}

/** Each fault as one sentence without the file; `root` is what the whole is called. */
export function describeIssue(
  issue: Issue,
  data: unknown,
  root = 'the configuration',
): { readonly path: Path; readonly text: string }[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return { path, text: `${formatPath(path)}: unknown key; allowed: ${issue.message}` };
    });
  }
  const { path } = issue;
  // Of several forms the one is meant that has the value's type; unions with words of their own say them.
  if (issue.code === 'invalid_union' && issue.message === UNION) {
    const meant = issue.errors.find((faults) => !faults.some(isOtherType));
    if (meant !== undefined)
      return meant.flatMap((one) => describeIssue({ ...one, path: [...path, ...one.path] }, data, root));
  }
  const key = path.length === 0 ? root : formatPath(path);
  const value = valueAt(data, path);
  if (value === undefined) return [{ path, text: `${key}: is missing; allowed: ${issue.message}` }];
  if (issue.code === 'custom') {
    const allowed = (issue.params as { allowed?: string } | undefined)?.allowed;
    const why = /[.!?]$/.test(issue.message) ? issue.message.slice(0, -1) : issue.message;
    if (allowed !== undefined) return [{ path, text: `${key}: ${why}; ${startsAllowed(allowed)}` }];
  }
  return [{ path, text: `${key}: ${showValue(value)} is not allowed; allowed: ${issue.message}` }];
}

function isOtherType({ code, path }: Issue): boolean {
  return code === 'invalid_type' && path.length === 0;
}

function startsAllowed(text: string): string {
  const plain = text.replace(/\.$/, '');
  return /^allowed/i.test(plain) ? plain.charAt(0).toLowerCase() + plain.slice(1) : `allowed: ${plain}`;
}

/**
 * The error of a configuration that the schema refused. `locate` gives the line of a key, where the text is at hand.
 */
export function configError(
  file: string,
  issues: readonly Issue[],
  data: unknown,
  remedy: string,
  locate: (path: Path) => number | undefined = () => undefined,
): NetproxyError {
  const faults = issues.flatMap((issue) => describeIssue(issue, data));
  const lines = faults.slice(0, LISTED).map(({ path, text }) => {
    const line = locate(path);
    return `${file}${line === undefined ? '' : `:${line}`}: ${text}`;
  });
  if (faults.length > LISTED) lines.push(`${file}: and ${faults.length - LISTED} more`);
  return new NetproxyError('ERR_NETPROXY_CONFIG', lines.join('\n'), { remedy });
}

/** The value of a flag, checked by the schema of the key that it stands for; throws ERR_NETPROXY_CONFIG naming the flag. */
export function checkFlag<T>(flag: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => describeIssue(issue, value, flag));
  throw new NetproxyError('ERR_NETPROXY_CONFIG', faults[0]?.text ?? `${flag} is not allowed`);
}
