/** Long lists leave the event loop to others. */
import type { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { writePage } from './page.js';

async function written(items: Iterable<number | undefined>, limit: number) {
  const output = new PassThrough({ highWaterMark: 1 << 24 });
  const chunks: Buffer[] = [];
  output.on('data', (chunk: Buffer) => chunks.push(chunk));
  let turns = 0;
  let running = true;
  const turn = (): void => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await writePage(output as unknown as ServerResponse, { items, cursor: (item) => item as number }, limit);
  running = false;
  await new Promise((resolve) => setImmediate(resolve));
  return { turns, body: JSON.parse(Buffer.concat(chunks).toString()) as { items: number[]; next?: number } };
}

function* numbers(count: number, fits = (_: number): boolean => true): Generator<number | undefined> {
  for (let n = 1; n <= count; n++) yield fits(n) ? n : undefined;
}

describe('pages', () => {
  it('are made in slices of a hundred', async () => {
    const { turns, body } = await written(numbers(5000), 10_000);
    expect(body.items).toHaveLength(5000);
    expect(body.next).toBeUndefined();
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  it('count those that do not fit, too', async () => {
    const { turns, body } = await written(
      numbers(5000, (n) => n === 4999),
      10,
    );
    expect(body).toEqual({ items: [4999] });
    expect(turns).toBeGreaterThanOrEqual(49);
  });

  it('end at the limit, and say where to go on only when something is left', async () => {
    expect((await written(numbers(10), 10)).body.next).toBeUndefined();
    expect((await written(numbers(11), 10)).body).toMatchObject({ next: 10 });
    expect((await written(numbers(0), 10)).body).toEqual({ items: [] });
  });

  it('stop making items when the client has gone', async () => {
    const output = new PassThrough();
    let made = 0;
    function* items(): Generator<number> {
      for (let n = 1; n <= 100_000; n++) {
        made = n;
        if (n === 500) output.destroy();
        yield n;
      }
    }
    await writePage(output as unknown as ServerResponse, { items: items(), cursor: Number }, 1_000_000);
    expect(made).toBeLessThan(1000);
  });
});
