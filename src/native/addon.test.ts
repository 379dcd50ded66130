/** The addon's ground rules: numbers, buffers, handles, and that a wrong argument is an error and nothing worse. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as core from '../core/index.js';
import { Rig, addon, missingAddon, openDescriptors } from './addon.testutil.js';
import * as constants from './constants.js';
import { EBADF, EINVAL, READ, WRITE, errnoName } from './constants.js';
import { loadNative } from './loader.js';

describe('loader', () => {
  it('leaves the addon out when told to', () => {
    process.env['NETPROXY_NO_ADDON'] = '1';
    try {
      expect(loadNative()).toEqual({ reason: 'NETPROXY_NO_ADDON=1 is set' });
    } finally {
      delete process.env['NETPROXY_NO_ADDON'];
    }
  });

  it('names results', () => {
    expect(errnoName(-111)).toBe('ECONNREFUSED');
    expect(errnoName(-11)).toBe('EAGAIN');
    expect(errnoName(-22)).toBe('EINVAL');
    expect(errnoName(-99999)).toBe('E99999');
  });
});

describe.skipIf(missingAddon())('addon', () => {
  let rig: Rig;
  beforeEach(() => {
    rig = new Rig();
  });
  afterEach(() => rig.poller.close());

  it('has the numbers of constants.ts and of core', () => {
    const known: Record<string, unknown> = { ...core, ...constants };
    for (const [name, value] of Object.entries(addon().constants())) {
      const [table, key] = name.split('.');
      const here =
        key === undefined ? known[name] : (known[table!] as Record<string, number> | undefined)?.[key];
      expect([name, here]).toEqual([name, value]);
    }
  });

  it('says what the host can do', () => {
    const found = addon().capabilities();
    expect(found.vsock).toBe(true);
    expect(found.tun).toBeLessThanOrEqual(0);
    expect(found.userns === 0).toBe(found.usernsStep === '');
  });

  it('takes byte and integer arrays, and only memory that stays', () => {
    const { poller } = rig;
    expect(poller.register(new Uint8Array(8))).toBeGreaterThan(0);
    expect(poller.register(new Int32Array(8))).toBeGreaterThan(0);
    expect(poller.register(new Uint8Array(0))).toBe(EINVAL);
    expect(poller.register(new Uint8Array(new SharedArrayBuffer(8)))).toBe(EINVAL);
    const resizable = new (ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer)(8, {
      maxByteLength: 16,
    });
    expect(poller.register(new Uint8Array(resizable))).toBe(EINVAL);
    for (const wrong of [null, {}, new Float64Array(2), new DataView(new ArrayBuffer(8)), 'x', 7]) {
      expect(poller.register(wrong as Uint8Array)).toBe(EINVAL);
    }
  });

  it('sees a part of a buffer as that part', () => {
    const memory = new Uint8Array(64).fill(0xff);
    const part = memory.subarray(10, 14);
    part.set([0x12, 0x34, 0x56, 0x78]);
    const id = rig.poller.register(part);
    expect(rig.poller.checksum(id, 0, 4)).toBe(0x68ac);
    expect(rig.poller.checksum(id, 1, 2)).toBe(0x3456);
    expect(rig.poller.checksum(id, 0, 5)).toBe(EINVAL);
  });

  it('checks every range', () => {
    const { id } = rig.bytes(100);
    const { poller } = rig;
    const numbers = [-2147483648, -1, 0, 1, 99, 100, 101, 2147483647, NaN, 1e20, 0.5];
    for (const offset of numbers) {
      for (const length of numbers) {
        const [o, l] = [offset | 0, length | 0];
        const inside = l === 0 || (o >= 0 && l > 0 && o + l <= 100);
        expect([o, l, poller.checksum(id, offset, length) >= 0]).toEqual([o, l, inside]);
      }
    }
    for (const wrong of [0, -1, id + 1, 2147483647]) expect(poller.checksum(wrong, 0, 1)).toBe(EINVAL);
    expect(poller.unregister(id)).toBe(0);
    expect(poller.unregister(id)).toBe(EINVAL);
    expect(poller.checksum(id, 0, 1)).toBe(EINVAL);
  });

  it('rejects wrong ranges in every call, whatever the handle', async () => {
    const { poller } = rig;
    const [client, server] = await rig.tcpPair();
    const bytes = rig.bytes(64);
    const slices = rig.ints(6);
    slices.data.set([bytes.id, 60, 5, 99, 0, 1]);
    expect(poller.writev(client, slices.id, 0, 1)).toBe(EINVAL);
    expect(poller.writev(client, slices.id, 1, 1)).toBe(EINVAL);
    expect(poller.writev(client, slices.id, 0, 3)).toBe(EINVAL);
    expect(poller.writev(client, slices.id, -1, 1)).toBe(EINVAL);
    expect(poller.readv(server, bytes.id, 0, 65, 0, 0)).toBe(EINVAL);
    expect(poller.readv(server, bytes.id, 0, 10, 60, 5)).toBe(EINVAL);
    expect(poller.readv(server, bytes.id, 0, 0, 0, 0)).toBe(EINVAL);
    expect(poller.peek(server, bytes.id, -1, 1)).toBe(EINVAL);
    expect(poller.streamToLink(server, 9, bytes.id, 0, 0)).toBe(EINVAL);
    expect(poller.streamToLink(server, 1, bytes.id, 60, 5)).toBe(EINVAL);
    // What is no link, listener, datagram socket or child is refused as such.
    expect(poller.rxBatch(client, bytes.id, 0, 64, slices.id, 1)).toBe(EINVAL);
    expect(poller.txBatch(client, slices.id, 0)).toBe(EINVAL);
    expect(poller.accept(client, 0)).toBe(EINVAL);
    expect(poller.udpErrors(client, slices.id, 0)).toBe(EINVAL);
    expect(poller.childStatus(client)).toBe(EINVAL);
    expect(poller.setOption(client, 77, 1)).toBe(EINVAL);
    expect(poller.setOption(client, 1, -1)).toBe(EINVAL);
  });

  it('knows a stale handle, also when its slot is used again', () => {
    const { poller } = rig;
    const old: number[] = [];
    for (let i = 0; i < 600; i++) {
      const handle = poller.udpOpen('127.0.0.1', 0, false);
      expect(handle).toBeGreaterThan(0);
      expect(poller.closeHandle(handle)).toBe(0);
      old.push(handle);
    }
    const live = poller.udpOpen('127.0.0.1', 0, false);
    expect(new Set([...old, live]).size).toBe(601);
    for (const handle of [...old, 0, -1, 2147483647]) {
      expect(poller.closeHandle(handle)).toBe(EBADF);
      expect(poller.interest(handle, READ)).toBe(EBADF);
      expect(poller.soError(handle)).toBe(EBADF);
      expect(poller.address(handle, false)).toBeNull();
      expect(poller.linkInfo(handle)).toBeNull();
    }
    expect(poller.handleCount()).toBe(1);
  });

  it('closes once and for all', async () => {
    const before = await openDescriptors();
    const other = new Rig();
    await other.tcpPair();
    const { id } = other.bytes(16);
    other.poller.close();
    other.poller.close();
    expect(other.poller.register(new Uint8Array(4))).toBe(EBADF);
    expect(other.poller.checksum(id, 0, 4)).toBe(EBADF);
    expect(other.poller.tcpConnect4(0x7f000001, 1)).toBe(EBADF);
    expect(other.poller.poll(0)).toBe(0);
    expect(other.poller.handleCount()).toBe(0);
    other.poller.ref();
    other.poller.unref();
    expect(await openDescriptors()).toBe(before);
  });

  it('runs microtasks after each wake-up, and lets exceptions surface', async () => {
    const order: string[] = [];
    const ready = new Int32Array(16);
    const poller = new (addon().Poller)(() => {
      poller.interest(handle, 0);
      queueMicrotask(() => order.push('microtask'));
      process.nextTick(() => order.push('tick'));
      order.push('ready');
      setImmediate(() => order.push('immediate'));
      throw new Error('from onReady');
    }, ready);
    const handle = poller.udpOpen('127.0.0.1', 0, false);
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const error = await new Promise<Error>((resolve) => {
      process.once('uncaughtException', resolve);
      poller.interest(handle, WRITE);
    });
    for (const listener of listeners) process.on('uncaughtException', listener);
    await new Promise((resolve) => setImmediate(resolve));
    expect(error.message).toBe('from onReady');
    expect(order[0]).toBe('ready');
    expect([...order].sort()).toEqual(['immediate', 'microtask', 'ready', 'tick']);
    poller.close();
  });

  it('reports at most what `ready` holds, and the rest later', async () => {
    const ready = new Int32Array(6);
    const counts: number[] = [];
    const seen = new Set<number>();
    const handles: number[] = [];
    const done = new Promise<void>((resolve) => {
      const poller = new (addon().Poller)((count) => {
        counts.push(count);
        for (let i = 0; i < count; i++) seen.add(ready[2 * i]!);
        if (seen.size === 10) {
          poller.close();
          resolve();
        }
      }, ready);
      for (let i = 0; i < 10; i++) handles.push(poller.udpOpen('127.0.0.1', 0, false));
      for (const handle of handles) poller.interest(handle, WRITE);
    });
    await done;
    expect(Math.max(...counts)).toBeLessThanOrEqual(3);
  });

  it('refuses AF_VSOCK where the environment forbids it', () => {
    expect(process.env['NETPROXY_NO_VSOCK']).toBe('1');
    expect(errnoName(rig.poller.vsockConnect(1, 1024))).toBe('EPERM');
    expect(errnoName(rig.poller.vsockListen(1024, 1))).toBe('EPERM');
  });
});
