/** What clients send: path, query and body, bounded and checked by the schemas of the endpoint. */
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { describeIssue } from '../config/index.js';
import { Problem } from './problem.js';

/** Bytes of a body at most. */
export const MAX_BODY = 64 * 1024;

/** Checks a value; throws 400 naming what is wrong and what is allowed. `what`: what the whole is called. */
export function checked<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => describeIssue(issue, value, what));
  const detail = faults.map(({ text }) => text).join('; ');
  throw new Problem(400, `${what}: ${detail}`.replace(`${what}: ${what}:`, `${what}:`), {
    code: 'ERR_NETPROXY_CONFIG',
    remedy: 'GET /v1/openapi.json describes every endpoint.',
  });
}

/** The query as the schema takes it: numbers and truth values where it wants them. Throws 400. */
export function queryOf(schema: z.ZodObject, text: string, what = 'query'): unknown {
  const query: Record<string, unknown> = {};
  for (const [key, value] of new URLSearchParams(text)) {
    if (Object.hasOwn(query, key)) throw new Problem(400, `${what}: ${key} is there twice`);
    const kind = Object.hasOwn(schema.shape, key) ? kindOf(schema.shape[key] as z.ZodType) : 'string';
    // Own, whatever its name: a key like __proto__ is refused by the schema as any unknown one.
    Object.defineProperty(query, key, { value: valueOf(kind, value), enumerable: true });
  }
  return checked(schema, query, what);
}

function kindOf(schema: z.ZodType): string {
  return schema instanceof z.ZodOptional ? kindOf(schema.unwrap() as z.ZodType) : schema.def.type;
}

function valueOf(kind: string, text: string): unknown {
  if (kind === 'number' && /^\d{1,15}$/.test(text)) return Number(text);
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

/** The body as JSON. Throws 400, 413 or 415. */
export async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/json')
    throw new Problem(415, 'the body must be JSON', { remedy: 'Send content-type: application/json.' });
  const bytes = await readBody(request);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Problem(400, 'the body is not UTF-8', { cause });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new Problem(400, 'the body is not JSON', { cause });
  }
}

/** The body, MAX_BODY at most. Rejects with a 413, or a 400 where it breaks off. */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  const { promise, resolve, reject } = settled<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const tooLarge = (): void => {
    request.pause();
    // What is still on its way is not read.
    const headers = { connection: 'close' };
    reject(new Problem(413, `the body is longer than ${MAX_BODY} bytes`, { headers }));
  };
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) tooLarge();
  else {
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_BODY) tooLarge();
      else chunks.push(chunk);
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('error', reject);
    request.once('close', () => reject(new Problem(400, 'the body ended early')));
  }
  return promise;
}

function settled<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
