import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { captureFormat, openCapture } from './capture-file.js';
import { CAPTURE_BUFFER } from './capture-writer.js';
import { pcapHeader, writePcapRecord } from './pcap.js';
import { packetLength, writePacket } from './pcapng.js';

const tshark = spawnSync('tshark', ['--version']).status === 0;
const START = Date.UTC(2024, 0, 2, 3, 4, 5) + 678.25;

let directory: string;
let wall: number;
const clock: Clock = { now: () => 0, wall: () => wall };
const deps = { clock, logger: silentLogger };

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(tmpdir(), 'capture-'));
  wall = START;
});

afterEach(() => fs.rmSync(directory, { recursive: true }));

/** An ARP request of the given length; the number is in its sender address. */
function arp(length: number, serial: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.write('ffffffffffff5a94efe40cee08060001080006040001', 'hex');
  bytes.writeUInt32BE(serial, 28);
  return bytes;
}

const named = (name: string): string => path.join(directory, name);

function fields(file: string, ...names: string[]): string[][] {
  const args = ['-n', '-r', file, '-T', 'fields', ...names.flatMap((name) => ['-e', name])];
  const text = execFileSync('tshark', args, { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
}

describe('formats, byte for byte', () => {
  it('pcap', () => {
    const expected = 'd4c3b2a1020004000000000000000000000004000100000';
    expect(Buffer.from(pcapHeader()).toString('hex')).toBe(`${expected}0`);
    const view = new DataView(new ArrayBuffer(64));
    for (let i = 0; i < 64; i++) view.setUint8(i, 0xa5);
    expect(writePcapRecord(view, 4, 1000.5, Uint8Array.of(9, 1, 2, 3), 1, 3)).toBe(23);
    expect(Buffer.from(view.buffer, 4, 20).toString('hex')).toBe(
      '01000000f401000003000000030000000102 03a5'.replace(' ', ''),
    );
  });

  it('pcapng packets are padded and closed', () => {
    for (let length = 14; length < 19; length++) {
      const view = new DataView(new ArrayBuffer(128));
      for (let i = 0; i < 128; i++) view.setUint8(i, 0xa5);
      const end = writePacket(view, 0, START, 7, 'out', new Uint8Array(length).fill(1), 0, length);
      expect(end).toBe(packetLength(length));
      expect(end % 4).toBe(0);
      expect([view.getUint32(4, true), view.getUint32(end - 4, true)]).toEqual([end, end]);
      expect(view.getUint8(end)).toBe(0xa5);
      expect(view.getUint32(end - 12, true)).toBe(2);
      for (let i = 28 + length; i % 4 !== 0; i++) expect(view.getUint8(i)).toBe(0);
    }
  });

  it('are chosen by extension', () => {
    expect(['a.pcap', 'a', 'a.cap', 'a.pcapng', 'A.PCAPNG', 'x.ntar'].map(captureFormat)).toEqual([
      'pcap',
      'pcap',
      'pcap',
      'pcapng',
      'pcapng',
      'pcapng',
    ]);
  });
});

describe('capture files', () => {
  it.runIf(tshark)('pcap is read by tshark', async () => {
    const capture = await openCapture(named('a.pcap'), deps);
    const sink = capture.sink('vm');
    sink.frame('in', Buffer.concat([Buffer.alloc(3), arp(60, 1)]), 3, 60);
    wall += 1000;
    capture.sink('other').frame('out', arp(9014, 2), 0, 9014);
    expect(await capture.close()).toEqual({ frames: 2, bytes: 9074, dropped: 0 });
    expect(fields(capture.path, 'frame.time_epoch', 'frame.len', 'arp.src.proto_ipv4')).toEqual([
      [expect.stringMatching(/^1704164645\.67825/), '60', '0.0.0.1'],
      [expect.stringMatching(/^1704164646\.67825/), '9014', '0.0.0.2'],
    ]);
  });

  it.runIf(tshark)('pcapng is read by tshark, with names, directions and statistics', async () => {
    const capture = await openCapture(named('a.pcapng'), deps);
    const one = capture.sink('unix:/run/vm.sock#1');
    const two = capture.sink('tap0');
    for (let i = 0; i < 5; i++) {
      const size = 60 + i;
      (i % 2 === 0 ? one : two).frame(i % 2 === 0 ? 'in' : 'out', arp(size, i), 0, size);
    }
    await capture.close();
    const names = ['frame.interface_name', 'frame.packet_flags_direction', 'frame.len', 'arp.src.proto_ipv4'];
    const rows = fields(capture.path, ...names, 'frame.time_epoch');
    expect(rows.map((row) => row.slice(0, 4))).toEqual(
      [0, 1, 2, 3, 4].map((i) => [
        i % 2 === 0 ? 'unix:/run/vm.sock#1' : 'tap0',
        expect.stringMatching(i % 2 === 0 ? /1$/ : /2$/),
        String(60 + i),
        `0.0.0.${i}`,
      ]),
    );
    expect(rows[0]![4]).toMatch(/^1704164645\.67825/);
    const info = execFileSync('capinfos', [capture.path]).toString();
    expect(info).toContain('Number of interfaces in file: 2');
    expect(info).toContain('netproxy');
  });

  it('is 0600, also where a file was', async () => {
    const file = named('old.pcap');
    fs.writeFileSync(file, 'x'.repeat(100), { mode: 0o644 });
    const capture = await openCapture(file, deps);
    await capture.close();
    const stat = fs.statSync(file);
    expect([stat.mode & 0o777, stat.size]).toEqual([0o600, 24]);
  });

  it('shows frames soon, without being closed', async () => {
    const capture = await openCapture(named('live.pcap'), deps);
    capture.sink('a').frame('in', arp(60, 1), 0, 60);
    for (let i = 0; i < 200 && fs.statSync(capture.path).size < 100; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(fs.statSync(capture.path).size).toBe(100);
    await capture.close();
    capture.sink('late').frame('in', arp(60, 1), 0, 60);
    expect(await capture.close()).toMatchObject({ frames: 1, dropped: 1 });
  });

  it('drops frames when the disk is too slow, whole ones, and says how many', async () => {
    const capture = await openCapture(named('b.pcapng'), deps);
    const sink = capture.sink('vm');
    const frame = arp(9014, 1);
    // Written in one go: the disk has no turn in between.
    const count = Math.ceil((CAPTURE_BUFFER * 1.2) / frame.length);
    for (let i = 0; i < count; i++) sink.frame('in', frame, 0, frame.length);
    const { frames, dropped } = await capture.close();
    expect(frames + dropped).toBe(count);
    expect(dropped).toBeGreaterThan(0);
    expect(fs.statSync(capture.path).size).toBeLessThan(CAPTURE_BUFFER + 1024 * 1024);
    if (!tshark) return;
    expect(fields(capture.path, 'frame.len')).toHaveLength(frames);
  });

  it('says why a file cannot be written, and stops quietly when the disk fails', async () => {
    await expect(openCapture(named('no/such/x.pcap'), deps)).rejects.toMatchObject({
      code: 'ERR_NETPROXY_CONFIG',
      errno: 'ENOENT',
      message: expect.stringContaining('no/such/x.pcap'),
    });
    if (!fs.existsSync('/dev/full')) return;
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
    const capture = await openCapture('/dev/full', { clock, logger });
    const sink = capture.sink('a');
    await new Promise((resolve) => setTimeout(resolve, 50));
    sink.frame('in', arp(60, 1), 0, 60);
    await capture.close();
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain('ENOSPC');
    expect(capture.stats.dropped).toBe(1);
  });
});
