/** Reads a configuration file: YAML 1.2, of which JSON is a part. */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';
import { NetproxyError } from '../core/index.js';
import { configError } from './errors.js';
import type * as z from 'zod';
import { type Config, configSchema } from './schema.js';

/** Loaded for the first file: its many modules would be a tenth of every start. */
const yaml = (): typeof Yaml => createRequire(import.meta.url)('yaml') as typeof Yaml;

/** A file longer than this is no configuration, bytes. */
export const MAX_CONFIG_SIZE = 1 << 20;
/** Aliases that a file may resolve in all: a few lines must not become gigabytes. */
const MAX_ALIASES = 100;

const REASON: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

const REMEDY = 'The whole schema: netproxy config schema, or docs/configuration.md.';

/** Reads and checks a file; throws ERR_NETPROXY_CONFIG that names file, line, key, value and what is allowed. */
export function loadConfig(file: string): Config {
  return loadFile(file, configSchema, REMEDY);
}

/** The same of a file with another schema. */
export function loadFile<T>(file: string, schema: z.ZodType<T>, remedy: string): T {
  let text: string;
  try {
    if (statSync(file).size > MAX_CONFIG_SIZE) {
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `${file} is longer than ${MAX_CONFIG_SIZE} bytes`);
    }
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof NetproxyError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new NetproxyError(
      'ERR_NETPROXY_CONFIG',
      `cannot read the configuration ${file}: ${REASON[code ?? ''] ?? message}`,
      {
        cause: error,
        ...(code === undefined ? {} : { errno: code }),
      },
    );
  }
  return parseFile(text, file, schema, remedy);
}

/** Checks the text of a configuration; `file` is for messages. */
export function parseConfig(text: string, file: string): Config {
  return parseFile(text, file, configSchema, REMEDY);
}

function parseFile<T>(text: string, file: string, schema: z.ZodType<T>, remedy: string): T {
  const { LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true });
  const [fault] = document.errors;
  if (fault !== undefined) {
    throw syntaxError(file, fault.message, lines.linePos(fault.pos[0]).line, fault);
  }
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw syntaxError(file, (error as Error).message, undefined, error);
  }
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  throw configError(file, result.error.issues, data, remedy, (path) => lineOf(document, lines, path));
}

function syntaxError(file: string, why: string, line: number | undefined, cause: unknown): NetproxyError {
  const where = line === undefined ? file : `${file}:${line}`;
  return new NetproxyError('ERR_NETPROXY_CONFIG', `${where}: neither YAML nor JSON: ${why}`, { cause });
}

/** The line of a key, or of the nearest one around it that exists. */
function lineOf(
  document: Yaml.Document,
  lines: Yaml.LineCounter,
  path: readonly PropertyKey[],
): number | undefined {
  const { isMap, isNode, isPair } = yaml();
  for (let depth = path.length; depth > 0; depth--) {
    const key = path[depth - 1];
    const parent = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
    const pair = isMap(parent)
      ? parent.items.find((item) => isPair(item) && String(item.key) === String(key))
      : undefined;
    const node = pair === undefined ? document.getIn(path.slice(0, depth), true) : pair.key;
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return undefined;
}
