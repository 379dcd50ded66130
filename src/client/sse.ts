/** Server-sent events, as far as netproxy sends them: one line of JSON each. */
import type { IncomingMessage } from 'node:http';
import type { ApiEvent } from '../api/index.js';

/** The events of an answer, until it ends. An end in the middle of one is an end. */
export async function* readEvents<T = ApiEvent>(response: IncomingMessage): AsyncGenerator<T> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice(6)) as T;
    }
  } catch (error) {
    // The server went away without a word.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
}
