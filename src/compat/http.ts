/** Requests and answers as Go's net/http has them: errors are plain text with a newline. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Problem, readBody } from '../api/index.js';
import { NetproxyError, type Logger } from '../core/index.js';
import { GoError } from './go-values.js';

const PLAIN = 'text/plain; charset=utf-8';

/** What is answered: a status with a text as http.Error writes it, or JSON (200 unless said), or nothing. */
export type Answer =
  | { readonly status: number; readonly text: string }
  | { readonly json: unknown; readonly status?: number }
  | { readonly done: true };

export const DONE: Answer = { done: true };
export const NOT_FOUND: Answer = { status: 404, text: '404 page not found' };

/** The body as text. Throws Problem (413), GoError. */
export async function textOf(request: IncomingMessage): Promise<string> {
  const bytes = await readBody(request);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new GoError('invalid character in JSON');
  }
}

/** Writes what `answer` comes to; what it throws is told as its kind deserves. Never rejects. */
export async function reply(
  response: ServerResponse,
  answer: () => Answer | Promise<Answer>,
  refused: (error: Error) => Answer,
  logger: Logger,
): Promise<void> {
  let result: Answer;
  try {
    result = await answer();
  } catch (error) {
    result = failure(error, refused, logger);
    if (error instanceof Problem)
      for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  }
  if (response.destroyed) return;
  if ('done' in result) response.writeHead(200, { 'content-length': 0 }).end();
  else if ('json' in result) {
    const text = `${JSON.stringify(result.json)}\n`;
    response
      .writeHead(result.status ?? 200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      })
      .end(text);
  } else {
    const text = `${result.text}\n`;
    response
      .writeHead(result.status, {
        'content-type': PLAIN,
        'x-content-type-options': 'nosniff',
        'content-length': Buffer.byteLength(text),
      })
      .end(text);
  }
}

function failure(error: unknown, refused: (error: Error) => Answer, logger: Logger): Answer {
  if (error instanceof Problem) return { status: error.status, text: error.message };
  if (error instanceof GoError || error instanceof NetproxyError) return refused(error);
  logger.warn(`control API failed: ${error instanceof Error ? (error.stack ?? '') : String(error)}`);
  return { status: 500, text: 'an internal error' };
}

/** The bytes of such an answer for a connection that no HTTP server has. `status`: `404 Not Found`. */
export function plainResponse(status: string, text: string): string {
  const body = `${text}\n`;
  return `HTTP/1.1 ${status}\r\nContent-Type: ${PLAIN}\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
}
