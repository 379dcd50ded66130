/** Much data of the test stream, with its digest. */
import { expect } from 'vitest';
import { digestOf } from './bytes.mjs';
import type { Lab } from './lab.js';
import type { Servers } from './servers.js';

/** Downloads with curl in the guest; the digest must be that of the test stream. Servers: `web` of kind http. */
export async function download(lab: Lab, servers: Servers, bytes: number, timeoutMs: number): Promise<void> {
  const pipe = `curl -sS ${servers.url('web', `/${bytes}?offset=5`)} | sha256sum`;
  expect(await lab.check(lab.guest, ['bash', '-o', 'pipefail', '-c', pipe], { timeoutMs })).toBe(
    `${digestOf(bytes, 5)}  -\n`,
  );
}

/** Uploads from the guest; the server must have got the test stream. Servers: `discard` of kind tcp-discard. */
export async function upload(lab: Lab, servers: Servers, bytes: number, timeoutMs: number): Promise<void> {
  const result = await lab.client({ mode: 'upload', ...servers.at('discard'), bytes, offset: 9 }, timeoutMs);
  expect(result).toMatchObject({ text: `${bytes} ${digestOf(bytes, 9)}\n`, how: 'fin' });
}
