/** Answers that go on until one side ends them: events and captures. */
import type { ServerResponse } from 'node:http';
import * as z from 'zod';
import { field } from '../../config/index.js';
import { silentLogger } from '../../core/index.js';
import { nodeScheduler } from '../../host/index.js';
import { CaptureWriter } from '../../observe/index.js';
import { Problem } from '../problem.js';
import { stream } from '../route.js';
import { EVENTS, eventSchema } from '../schemas.js';
import { REMEMBERED, drained } from '../streams.js';

const isEvent = (word: string): boolean => (EVENTS as readonly string[]).includes(word);

const eventQuery = z.strictObject({
  types: field
    .matching(`some of ${EVENTS.join(',')}`, (text) => text.split(',').every(isEvent))
    .optional()
    .describe(`Only these: some of ${EVENTS.join(',')}`),
  last: field
    .whole('events', 0, REMEMBERED)
    .optional()
    .describe('Begin with this many that happened already'),
  follow: z.boolean({ error: 'true or false' }).optional().describe('false: end behind those. Default true'),
});

const captureQuery = z.strictObject({
  guest: field.guestName.optional().describe('Only frames of this guest. Default: of all'),
});

export const streamRoutes = [
  stream({
    method: 'GET',
    path: '/v1/events',
    summary: 'What happens, as server-sent events; last-event-id goes on behind that one',
    query: eventQuery,
    type: 'text/event-stream',
    item: eventSchema,
    refusals: { 503: 'Too many streams are open' },
    respond: ({ streams, query }) => {
      streams.check();
      const types = query.types === undefined ? undefined : new Set(query.types.split(','));
      return (response, request) => {
        const seen = request.headers['last-event-id'];
        streams.events(response, {
          wants: ({ event }) => types?.has(event) ?? true,
          last: query.last ?? 0,
          after: typeof seen === 'string' && /^\d{1,15}$/.test(seen) ? Number(seen) : undefined,
          follow: query.follow ?? true,
        });
      };
    },
  }),
  stream({
    method: 'GET',
    path: '/v1/capture',
    summary: 'Frames of guests as pcapng, from now on',
    rights: 'full',
    query: captureQuery,
    type: 'application/x-pcapng',
    refusals: { 404: 'There is no such guest', 503: 'Too many streams are open' },
    respond: ({ network, host, streams, query: { guest } }) => {
      streams.check();
      if (guest !== undefined && !network.guests().some(({ name }) => name === guest))
        throw new Problem(404, `there is no guest ${guest}`);
      return async (response) => {
        streams.enter(response);
        const capture = new CaptureWriter(targetOf(response), 'pcapng', {
          clock: nodeScheduler,
          logger: host.logger ?? silentLogger,
          buffer: CLIENT_BUFFER,
        });
        const stop = network.capture(({ name, link }) =>
          guest === undefined || name === guest ? capture.sink(`${name} ${link.kind}`) : undefined,
        );
        await new Promise((resolve) => response.once('close', resolve));
        stop();
        await capture.close();
      };
    },
  }),
];

/** Of captures for clients, of whom there may be many, bytes. */
const CLIENT_BUFFER = 1024 * 1024;

/** A response as the target of a capture: what the client has not taken waits, bounded, in the capture. */
function targetOf(response: ServerResponse) {
  return {
    name: 'of a client',
    write: async (bytes: Uint8Array): Promise<void> => {
      // Ended: the API closes.
      if (response.destroyed || response.writableEnded || response.write(bytes)) return;
      await drained(response);
    },
    close: () => Promise.resolve(),
  };
}
