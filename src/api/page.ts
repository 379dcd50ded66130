/**
 * Lists are written piece by piece: items are made and written SLICE at a time, the data path has its turn in between, and
 * a reader that is slow holds up nobody but itself.
 */
import type { ServerResponse } from 'node:http';
import * as z from 'zod';
import { field } from '../config/index.js';
import type { Listing } from './route.js';
import { drained } from './streams.js';

/** Items made in one turn of the event loop. */
const SLICE = 100;
export const DEFAULT_LIMIT = 1000;
export const MAX_LIMIT = 10_000;

/** What `page` endpoints take beside their own query. */
export const pageQuery = z.strictObject({
  limit: field.whole('items', 1, MAX_LIMIT).optional().describe(`Items at most. Default ${DEFAULT_LIMIT}`),
  after: field
    .whole('', 0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('Items behind this cursor: the next of the page before'),
});

/** Writes `{ "items": […], "next": … }` and ends the response. `next` is there when items were left over. */
export async function writePage(response: ServerResponse, listing: Listing, limit: number): Promise<void> {
  let text = '{"items":[';
  let count = 0;
  let seen = 0;
  let last = 0;
  let next = '';
  for (const item of listing.items) {
    if (item !== undefined) {
      if (count === limit) {
        next = `,"next":${last}`;
        break;
      }
      text += `${count === 0 ? '' : ','}${JSON.stringify(item)}`;
      last = listing.cursor(item);
      count++;
    }
    if (++seen % SLICE !== 0) continue;
    if (!(await written(response, text))) return;
    text = '';
  }
  response.end(`${text}]${next}}\n`);
}

/** Resolves in another turn, when the reader took it; false: it went away. */
async function written(response: ServerResponse, text: string): Promise<boolean> {
  if (response.destroyed) return false;
  if (response.write(text)) await new Promise((resolve) => setImmediate(resolve));
  else await drained(response);
  return !response.destroyed;
}
