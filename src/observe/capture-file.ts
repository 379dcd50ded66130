/** A capture file, pcap or pcapng by its extension. */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { NetproxyError } from '../core/index.js';
import { type Capture, type CaptureDeps, type CaptureFormat, CaptureWriter } from './capture-writer.js';

export interface CaptureFile extends Capture {
  readonly path: string;
}

/** `.pcapng` and `.ntar` name pcapng, anything else pcap. */
export function captureFormat(path: string): CaptureFormat {
  return /\.(pcapng|ntar)$/i.test(path) ? 'pcapng' : 'pcap';
}

/** Creates the file with mode 0600, or empties it. Rejects with ERR_NETPROXY_CONFIG when that is not possible. */
export async function openCapture(path: string, deps: CaptureDeps): Promise<CaptureFile> {
  try {
    const file = await open(path, 'w', 0o600);
    const stat = await file.stat();
    // An old file keeps its mode; a pipe or device is not ours to change.
    if (stat.isFile()) await file.chmod(0o600);
    return Object.assign(new CaptureWriter(targetOf(path, file), captureFormat(path), deps), { path });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `cannot write the capture ${path}: ${message}`, {
      cause: error,
      remedy: 'Choose a file that this user may write.',
      ...(code === undefined ? {} : { errno: code }),
    });
  }
}

function targetOf(path: string, file: FileHandle) {
  return {
    name: path,
    write: async (bytes: Uint8Array): Promise<void> => {
      for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
    },
    close: () => file.close(),
  };
}
