import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { readAll } from './read-all.js';

describe('readAll', () => {
  it('takes all pieces at once, and begins to read where there are none', async () => {
    const stream = new PassThrough();
    expect(readAll(stream)).toBeNull();
    for (const piece of ['a', 'b', 'c']) stream.write(piece);
    await new Promise((resolve) => stream.once('readable', resolve));
    expect(String(readAll(stream))).toBe('abc');
    expect(readAll(stream)).toBeNull();
    stream.end();
    await new Promise((resolve) => {
      stream.once('end', resolve);
      readAll(stream);
    });
  });
});
