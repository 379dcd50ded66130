import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SNTP_LENGTH, answerSntp } from './index.js';

/** 2024-02-29T12:00:00.500Z. */
const WALL = Date.UTC(2024, 1, 29, 12, 0, 0, 500);

function request(head: number, length = 48): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes[0] = head;
  bytes[2] = 6;
  bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 40);
  return bytes;
}

describe('answerSntp', () => {
  it('answers a client of version 4', () => {
    const answer = answerSntp(request(0x23), 0, 48, WALL)!;
    const seconds = (WALL - 500) / 1000 + 2_208_988_800;
    const stamp = seconds.toString(16).padStart(8, '0') + '80000000';
    expect(Buffer.from(answer).toString('hex')).toBe(
      `240306f600000000000100007f7f0100${stamp}0102030405060708${stamp}${stamp}`,
    );
  });

  it.each([1, 2, 3, 4])('copies version %i', (version) => {
    expect(answerSntp(request((version << 3) | 3), 0, 48, WALL)![0]).toBe((version << 3) | 4);
  });

  it('takes the unsynchronised leap indicator that clients send, and sends none', () => {
    expect(answerSntp(request(0xe3), 0, 48, WALL)![0]).toBe(0x24);
  });

  it.each([0, 1, 2, 4, 5, 6, 7])('drops mode %i', (mode) => {
    expect(answerSntp(request(0x20 | mode), 0, 48, WALL)).toBeUndefined();
  });

  it.each([0, 5, 6, 7])('drops version %i', (version) => {
    expect(answerSntp(request((version << 3) | 3), 0, 48, WALL)).toBeUndefined();
  });

  it('drops every truncation and bounds that lie', () => {
    const whole = request(0x23);
    for (let length = 0; length < 48; length++) expect(answerSntp(whole, 0, length, WALL)).toBeUndefined();
    expect(answerSntp(whole, 1, 48, WALL)).toBeUndefined();
    expect(answerSntp(whole, -1, 48, WALL)).toBeUndefined();
    expect(answerSntp(whole, 0, 49, WALL)).toBeUndefined();
  });

  it('reads at an offset and ignores what follows the header', () => {
    const frame = new Uint8Array(200).fill(0xa5);
    frame.set(request(0x23), 42);
    expect(answerSntp(frame, 42, 68, WALL)).toEqual(answerSntp(request(0x23), 0, 48, WALL));
  });

  it('wraps into the next era in 2036', () => {
    const answer = answerSntp(request(0x23), 0, 48, Date.UTC(2036, 1, 7, 6, 28, 16))!;
    expect(new DataView(answer.buffer).getUint32(40)).toBe(0);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 0, max: 2 ** 44 }), (bytes, wall) => {
        const answer = answerSntp(bytes, 0, bytes.length, wall);
        expect(answer === undefined || answer.length === SNTP_LENGTH).toBe(true);
      }),
    );
  });
});
