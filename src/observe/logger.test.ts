import { describe, expect, it } from 'vitest';
import { NetproxyError } from '../core/index.js';
import { createLogEvery, createLogger, LOG_KEYS, withFields } from './logger.js';
import type { LoggerOptions } from './logger.js';

function collect(options: LoggerOptions = {}) {
  const lines: string[] = [];
  const wall = () => Date.UTC(2024, 0, 2, 3, 4, 5, 678);
  return { lines, logger: createLogger({ wall, write: (line) => lines.push(line), ...options }) };
}

describe('text', () => {
  it('is one line with fields', () => {
    const { lines, logger } = collect();
    logger.warn('guest left', {
      guest: 'vm 1',
      port: 5,
      error: new Error('gone'),
      list: [1, 'a'],
      none: null,
    });
    expect(lines).toEqual([
      '03:04:05.678 warn  guest left guest="vm 1" port=5 error=gone list=[1,"a"] none=null\n',
    ]);
  });

  it('lets no control character through', () => {
    const { lines, logger } = collect();
    logger.info('name \u001b[31m\n12:00:00 error fake', { host: 'a\r\nb\u009b' });
    expect(lines).toHaveLength(1);
    expect(lines[0]!.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    expect(lines[0]).toContain('\\u001b[31m\\u000a12');
  });

  it('colours when asked to', () => {
    const { lines, logger } = collect({ color: true });
    logger.error('x');
    expect(lines[0]).toContain('\u001b[31merror\u001b[39m x');
  });
});

describe('JSON', () => {
  it('is one object a line', () => {
    const { lines, logger } = collect({ format: 'json' });
    logger.error('cannot', {
      cause: new NetproxyError('ERR_NETPROXY_LINK', 'broken'),
      big: 5n,
      level: 'not this one',
    });
    expect(JSON.parse(lines[0]!)).toEqual({
      time: '2024-01-02T03:04:05.678Z',
      level: 'error',
      message: 'cannot',
      cause: { message: 'broken', code: 'ERR_NETPROXY_LINK' },
      big: '5',
    });
  });

  it('survives what cannot be written as JSON', () => {
    const { lines, logger } = collect({ format: 'json' });
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    logger.info('loop', { loop });
    expect(JSON.parse(lines[0]!)).toMatchObject({ message: 'loop' });
    const text = collect();
    text.logger.info('loop', { loop });
    expect(text.lines[0]).toContain('loop=?');
  });
});

describe('levels', () => {
  it.each([
    ['debug', 4],
    ['info', 3],
    ['warn', 2],
    ['error', 1],
    ['silent', 0],
  ] as const)('%s shows %d of four', (level, count) => {
    const { lines, logger } = collect({ level });
    for (const of of ['debug', 'info', 'warn', 'error'] as const) logger[of]('x');
    expect(lines).toHaveLength(count);
  });

  it('never throws', () => {
    const logger = createLogger({
      write: () => {
        throw new Error('EPIPE');
      },
    });
    expect(() => logger.error('x')).not.toThrow();
  });

  it('adds fields', () => {
    const { lines, logger } = collect();
    withFields(logger, { guest: 'a', x: 1 }).info('hello', { x: 2 });
    expect(lines[0]).toContain('hello guest=a x=2');
  });
});

describe('logEvery', () => {
  it('logs a key once per span and tells what it left out', () => {
    const { lines, logger } = collect();
    let now = 0;
    const every = createLogEvery(logger, { now: () => now, wall: () => 0 });
    for (; now < 2500; now += 10) every('emfile', 1000, 'warn', 'no descriptors', { n: 1 });
    every('other', 1000, 'info', 'else');
    expect(lines.map((line) => line.slice(13, -1))).toEqual([
      'warn  no descriptors n=1',
      'warn  no descriptors n=1 suppressed=99',
      'warn  no descriptors n=1 suppressed=99',
      'info  else',
    ]);
  });

  it('remembers a bounded number of keys', () => {
    const { lines, logger } = collect();
    const every = createLogEvery(logger, { now: () => 0, wall: () => 0 });
    for (let i = 0; i <= LOG_KEYS; i++) every(`k${i}`, 1000, 'info', 'x');
    every(`k${LOG_KEYS}`, 1000, 'info', 'x');
    expect(lines).toHaveLength(LOG_KEYS + 1);
    every('k0', 1000, 'info', 'x');
    expect(lines).toHaveLength(LOG_KEYS + 2);
  });
});
