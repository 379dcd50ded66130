import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
import { type FirstWord, PATIENCE, SILENCE, classify, readFirst } from './first-bytes.js';
import { clientHello } from './hello.testutil.js';

const HTTP: FirstWord = { kind: 'http' };
const OTHER: FirstWord = { kind: 'other' };

describe('classify', () => {
  it.each<readonly [text: string, word: FirstWord | 'more']>([
    ['GET / HTTP/1.1\r\n', HTTP],
    ['GET ', HTTP],
    ['M-SEARCH * HTTP/1.1', HTTP],
    ['get /', HTTP],
    ['\r\nPOST / HTTP/1.1', HTTP],
    ['\n\r\nGET /', HTTP],
    ['GE', 'more'],
    ['\r', 'more'],
    ['\r\n', 'more'],
    ['\r\n\r\n', 'more'],
    ['\r\n\r', 'more'],
    ['\r\n\r\n\r\n', OTHER],
    ['A'.repeat(24), 'more'],
    [`${'A'.repeat(24)} `, HTTP],
    ['A'.repeat(25), OTHER],
    [' GET', OTHER],
    ['GET\r\n', OTHER],
    ['CONNECT a:443 HTTP/1.1\r\n', OTHER],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', OTHER],
    ['\x16\x03\x01', OTHER],
    ['SSH-2.0-OpenSSH_9\r\n', OTHER],
    ['\0', OTHER],
    ['\xff', OTHER],
  ])('%j on a port of http', (text, word) => {
    const bytes = Buffer.from(text, 'latin1');
    const told = classify('http', bytes);
    if (word === 'more') expect(told).toBe(bytes.length + 1);
    else expect(told).toEqual(word);
  });

  it('knows a ClientHello on a port of https, and nothing else', () => {
    expect(classify('https', clientHello('a.example'))).toEqual({ kind: 'tls', name: 'a.example' });
    expect(classify('https', Buffer.from('GET / HTTP/1.1'))).toEqual(OTHER);
    expect(classify('https', Buffer.from([22]))).toBe(5);
  });
});

describe('readFirst', () => {
  const begin = (scheme: 'http' | 'https') => {
    const clock = new VirtualClock();
    const stream = new PassThrough({ allowHalfOpen: true });
    const read = readFirst(stream, scheme, clock);
    return { clock, stream, read };
  };

  it('puts a request back for whoever reads it', async () => {
    const { stream, read } = begin('http');
    stream.write('GE');
    stream.write('T / HTTP/1.1\r\n');
    stream.end();
    expect(await read).toEqual({ word: HTTP, bytes: Buffer.alloc(0) });
    expect((stream.read() as Buffer).toString()).toBe('GET / HTTP/1.1\r\n');
  });

  it('keeps what it has read of anything else', async () => {
    const { stream, read } = begin('https');
    const hello = clientHello('a.example', { record: 50 });
    for (const byte of hello) stream.write(Buffer.from([byte]));
    stream.end();
    expect(await read).toEqual({ word: { kind: 'tls', name: 'a.example' }, bytes: hello });
  });

  it('takes silence for a server that speaks first', async () => {
    const { clock, read } = begin('https');
    let done = false;
    void read.then(() => (done = true));
    await clock.advance(SILENCE - 1);
    expect(done).toBe(false);
    await clock.advance(1);
    expect(await read).toEqual({ word: { kind: 'silent' }, bytes: Buffer.alloc(0) });
  });

  it('does not wait for ever for the rest of what began', async () => {
    const { clock, stream, read } = begin('https');
    const part = clientHello('a.example').subarray(0, 60);
    stream.write(part);
    await clock.advance(PATIENCE + SILENCE);
    expect(await read).toEqual({ word: OTHER, bytes: part });
  });

  it('ends with the stream', async () => {
    const ended = begin('http');
    ended.stream.end();
    expect((await ended.read).word).toEqual({ kind: 'silent' });
    const broken = begin('http');
    broken.stream.destroy();
    await expect(broken.read).rejects.toThrow('closed the connection');
  });
});
