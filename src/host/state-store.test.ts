import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../core/index.js';
import { VirtualClock } from '../testing/index.js';
import { type StateDisk, nodeDisk } from './state-disk.js';
import { MemoryDisk } from './state.testutil.js';
import { parseState, stateHeader, stateLine } from './state-format.js';
import { COMMIT_DEADLINE, FIRST_RETRY, MAX_ADDED, StateStore } from './state-store.js';
import { nodeScheduler } from './scheduler.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'np-state-'));
  path = join(folder, 'state');
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

class Log {
  readonly warned: string[] = [];
  readonly said: string[] = [];
  readonly logger: Logger = {
    warn: (message) => void this.warned.push(message),
    info: (message) => void this.said.push(message),
    debug: () => undefined,
    error: (message) => void this.warned.push(message),
  };
}

function open(log = new Log(), disk: StateDisk = nodeDisk): StateStore {
  return new StateStore(path, { logger: log.logger, scheduler: nodeScheduler, disk });
}

const committed = (store: StateStore): Promise<boolean> => new Promise((resolve) => store.commit(resolve));
const entries = (store: StateStore): unknown => Object.fromEntries(store.entries('lease'));

/** What the file holds, read as after a crash. */
const onDisk = () => parseState(readFileSync(path));

describe('a state file', () => {
  it('gives back what was committed, in the order in which it was put last', async () => {
    const store = open();
    store.put('lease', 'a', { n: 1 });
    store.put('lease', 'b', { n: 2 });
    store.put('port', 'a', 'other section');
    store.put('lease', 'a', { n: 3 });
    store.delete('lease', 'none');
    expect(await committed(store)).toBe(true);
    expect([...onDisk().records.keys()]).toEqual(['lease/b', 'port/a', 'lease/a']);
    store.delete('lease', 'b');
    expect(await committed(store)).toBe(true);
    await store.close();
    const again = open();
    expect(entries(again)).toEqual({ a: { n: 3 } });
    expect([...again.entries('port')]).toEqual([['a', 'other section']]);
    expect(again.counters.read).toBe(2);
    await again.close();
  });

  it('is for its owner alone, in a folder that is made', async () => {
    path = join(folder, 'deep', 'er', 'state');
    const store = open();
    store.put('lease', 'a', 1);
    await committed(store);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, 'deep', 'er')).sort()).toEqual(['state', 'state.lock']);
    await store.close();
    expect(readdirSync(join(folder, 'deep', 'er'))).toEqual(['state']);
  });

  it('never goes where a link leads that somebody put in the place of the draft', async () => {
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'precious', { mode: 0o644 });
    symlinkSync(victim, `${path}.tmp`);
    const store = open();
    store.put('lease', 'a', 1);
    expect(await committed(store)).toBe(true);
    await store.close();
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(lstatSync(path).isFile()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('holds what commit said at every moment, whatever comes in between', async () => {
    const store = open();
    let busy = 0;
    for (let n = 0; n < 200; n++) {
      store.put('lease', `k${n % 7}`, { n });
      store.commit((kept) => {
        busy--;
        expect(kept).toBe(true);
        const value = onDisk().records.get(`lease/k${n % 7}`) as { n: number };
        expect(value.n).toBeGreaterThanOrEqual(n);
      });
      busy++;
      if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await committed(store);
    expect(busy).toBe(0);
    // Two hundred commits in few writes.
    expect(store.counters.commits).toBeLessThan(100);
    await store.close();
  });

  it('calls back at once when nothing is left to write', async () => {
    const store = open();
    store.put('lease', 'a', 1);
    await committed(store);
    store.put('lease', 'a', 1);
    let kept: boolean | undefined;
    store.commit((answer) => (kept = answer));
    expect(kept).toBe(true);
    await store.close();
  });

  it('is written anew when it has grown, and does not grow beyond that', async () => {
    const store = open();
    await committed(store);
    for (let n = 0; n < 40; n++) {
      for (let key = 0; key < 500; key++) store.put('lease', String(key), { n, key });
      await committed(store);
    }
    expect(store.counters.rewritten).toBeGreaterThan(2);
    expect(readFileSync(path, 'utf8').split('\n').length).toBeLessThanOrEqual(MAX_ADDED + 502);
    expect(onDisk().records.size).toBe(500);
    await store.close();
  });

  it('is written anew when somebody deleted it', async () => {
    const log = new Log();
    const store = open(log);
    store.put('lease', 'a', 1);
    await committed(store);
    rmSync(path);
    store.put('lease', 'b', 2);
    expect(await committed(store)).toBe(true);
    expect(onDisk().records.size).toBe(2);
    expect(log.warned).toEqual([]);
    await store.close();
  });
});

describe('a lock', () => {
  it('keeps a second network out, also one of this process', async () => {
    const store = open();
    expect(() => open()).toThrow(/process \d+ writes the state file .* already/);
    await store.close();
    await open().close();
  });

  it('of a process that has ended is nobody’s', async () => {
    for (const mark of ['999999999 1\n', `${process.pid} 1\n`, 'rubbish', '']) {
      writeFileSync(`${path}.lock`, mark);
      await open().close();
      expect(existsSync(`${path}.lock`)).toBe(false);
    }
  });
});

describe('a file that is not as we left it', () => {
  const good = (count: number): string =>
    stateHeader(count) + Array.from({ length: count }, (_, n) => stateLine([`lease/${n}`, { n }])).join('');

  async function start(content: string | Buffer) {
    rmSync(folder, { recursive: true, force: true });
    const log = new Log();
    mkdirSync(folder);
    writeFileSync(path, content);
    const store = open(log);
    const records = [...store.entries('lease')].length;
    await committed(store);
    store.put('lease', 'new', 1);
    expect(await committed(store)).toBe(true);
    await store.close();
    const aside = readdirSync(folder).filter((name) => name.startsWith('state.damaged-'));
    if (aside.length > 0) expect(readFileSync(join(folder, aside[0]!))).toEqual(Buffer.from(content));
    expect(onDisk()).toMatchObject({ fault: undefined, torn: false });
    return { records, aside: aside.length, warned: log.warned.join() };
  }

  it('foreign, of another version: set aside', async () => {
    const foreign = await start('[leases]\n');
    expect(foreign).toMatchObject({ records: 0, aside: 1 });
    expect(foreign.warned).toMatch(
      /not a state file of netproxy; it is now .*damaged-.*; starting without it/,
    );
    const newer = await start(stateLine({ format: 'netproxy state', version: 2, records: 0 }));
    expect(newer).toMatchObject({ records: 0, aside: 1 });
    expect(newer.warned).toMatch(/it has version 2, and this netproxy knows version 1/);
    expect((await start(Buffer.alloc(4096))).aside).toBe(1);
  });

  it('empty: taken as new', async () => {
    expect(await start('')).toEqual({ records: 0, aside: 0, warned: '' });
  });

  it('with a damaged record: set aside, the others are used', async () => {
    const text = good(3).replace('"n":1', '"n":7');
    const damaged = await start(text);
    expect(damaged).toMatchObject({ records: 2, aside: 1 });
    expect(damaged.warned).toMatch(/1 of its records are damaged; .*; 2 records of it are used/);
  });

  it('cut short within what was written at once: set aside; within what was added: the end is left out', async () => {
    const whole = good(3);
    const more = stateLine(['lease/9', { n: 9 }]);
    const cut = (text: string, length: number) => parseState(Buffer.from(text.slice(0, length)));
    for (let length = 1; length < whole.length; length++) {
      const { fault, records } = cut(whole, length);
      expect({ length, fault }).toMatchObject({ fault: expect.stringMatching(/cut short|not a state file/) });
      expect(records.size).toBeLessThan(3);
    }
    for (let length = 1; length < more.length; length++) {
      const { fault, torn, records } = cut(whole + more, whole.length + length);
      expect({ fault, torn, records: records.size }).toEqual({ fault: undefined, torn: true, records: 3 });
    }
    expect(await start(whole.slice(0, -9))).toMatchObject({ records: 2, aside: 1 });
    expect(await start(whole + more.slice(0, -9))).toEqual({ records: 3, aside: 0, warned: '' });
    expect(await start(whole + more)).toEqual({ records: 4, aside: 0, warned: '' });
  });

  it('a folder, or one that cannot be set aside: refused, not overwritten', () => {
    expect(() => new StateStore(folder, { logger: new Log().logger, scheduler: nodeScheduler })).toThrow(
      /it is not a file/,
    );
    writeFileSync(path, 'mine');
    const stuck: StateDisk = {
      ...nodeDisk,
      move: () => {
        throw Object.assign(new Error('no'), { code: 'EACCES' });
      },
    };
    expect(() => open(new Log(), stuck)).toThrow(/it cannot be renamed \(permission denied\)/);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it('any bytes: read without a throw, never more than what has a right checksum', () => {
    const whole = good(5);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array({ maxLength: 40 }), (at, bytes) => {
        const mixed = Buffer.concat([
          Buffer.from(whole.slice(0, at)),
          bytes,
          Buffer.from(whole.slice(at + bytes.length)),
        ]);
        for (const [key, value] of parseState(mixed).records) {
          expect(key).toBe(`lease/${(value as { n: number }).n}`);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a bad disk', () => {
  const bench = () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const log = new Log();
    const make = () => new StateStore('/state', { logger: log.logger, scheduler: clock, disk });
    return { clock, disk, log, make };
  };
  const read = (disk: MemoryDisk) => parseState(Buffer.from(disk.text));

  it.each(['ENOSPC', 'EACCES', 'EROFS', 'EIO'])(
    '%s: told once, tried again, written whole later',
    async (errno) => {
      const { clock, disk, log, make } = bench();
      const store = make();
      store.put('lease', 'a', 1);
      expect(await clock.run(committed(store))).toBe(true);
      disk.errno = errno;
      for (let n = 0; n < 5; n++) {
        store.put('lease', 'b', n);
        expect(await clock.run(committed(store))).toBe(false);
      }
      await clock.advance(FIRST_RETRY * 10);
      expect(log.warned).toHaveLength(1);
      expect(log.warned[0]).toMatch(/cannot write the state file \/state: .*; going on without/);
      disk.errno = undefined;
      await clock.advance(60_000);
      expect(log.said.at(-1)).toBe('the state file /state is written again');
      expect(read(disk)).toMatchObject({ fault: undefined, torn: false });
      expect(Object.fromEntries(read(disk).records)).toEqual({ 'lease/a': 1, 'lease/b': 4 });
      store.put('lease', 'c', 1);
      expect(await clock.run(committed(store))).toBe(true);
      await clock.run(store.close());
    },
  );

  it('from the start: the store works all the same', async () => {
    const { clock, disk, log, make } = bench();
    disk.errno = 'EROFS';
    const store = make();
    store.put('lease', 'a', 1);
    expect(await clock.run(committed(store))).toBe(false);
    expect(entries(store)).toEqual({ a: 1 });
    expect(log.warned).toHaveLength(1);
    await clock.run(store.close());
  });

  it('one that hangs: commits are given up, and it is right again when the disk is', async () => {
    const { clock, disk, log, make } = bench();
    const store = make();
    expect(await clock.run(committed(store))).toBe(true);
    let release: () => void = () => undefined;
    disk.hang = new Promise((resolve) => (release = resolve));
    const answers: boolean[] = [];
    store.put('lease', 'a', 1);
    store.commit((kept) => answers.push(kept));
    await clock.advance(COMMIT_DEADLINE / 2);
    store.put('lease', 'b', 1);
    store.commit((kept) => answers.push(kept));
    expect(answers).toEqual([]);
    await clock.advance(COMMIT_DEADLINE / 2);
    expect(answers).toEqual([false, false]);
    store.commit((kept) => answers.push(kept));
    expect(answers).toHaveLength(3);
    expect(log.warned).toEqual([expect.stringMatching(/the disk does not answer/)]);
    disk.hang = undefined;
    release();
    await clock.advance(1);
    expect(answers).toHaveLength(3);
    expect(read(disk).records.size).toBe(2);
    expect(await clock.run(committed(store))).toBe(true);
    await clock.run(store.close());
  });

  it('one that hangs does not hold up the end', async () => {
    const { clock, disk, make } = bench();
    disk.hang = new Promise(() => undefined);
    const store = make();
    store.put('lease', 'a', 1);
    await clock.run(store.close());
  });
});
