/** Answers that netproxy writes itself, past node:http where that has let go of a connection. */
import { type IncomingMessage, STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Problem, pageOf } from './problem.js';

/** Writes the page of a problem; false where the answer had begun already. */
export function answerProblem(problem: Problem, request: IncomingMessage, response: ServerResponse): boolean {
  if (response.headersSent || response.destroyed) return false;
  const page = pageOf(problem, request.headers.accept);
  response.sendDate = false;
  response.writeHead(page.status, [...page.headers]);
  response.end(request.method === 'HEAD' ? undefined : page.body);
  return true;
}

/** A head as it goes over the wire. */
export function formatHead(status: number, reason: string | undefined, fields: readonly string[]): string {
  const lines = [`HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? ''}`];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]!}: ${fields[i + 1]!}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** The page of a problem on a connection that has no parser; it ends with it. */
export function answerRaw(problem: Problem, accept: string | undefined, stream: Duplex): void {
  if (stream.destroyed || !stream.writable) return;
  const page = pageOf(problem, accept);
  stream.write(formatHead(page.status, undefined, [...page.headers, 'Connection', 'close']), 'latin1');
  stream.end(page.body);
  // What still comes is of no interest, but must not hold up the end.
  stream.resume();
}
