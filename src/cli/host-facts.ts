/** Small facts about this host, read from /proc and PATH; tests give their own. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface HostFacts {
  /** Text of a small file, trimmed; undefined when it cannot be read. */
  read(file: string): string | undefined;
  exists(file: string): boolean;
  /** Whether this user may open it so. */
  may(file: string, mode: 'read' | 'write' | 'both'): boolean;
  /** Path of a program in PATH or an sbin folder. */
  which(program: string): string | undefined;
  readonly isRoot: boolean;
  readonly platform: NodeJS.Platform;
}

const MODES = { read: constants.R_OK, write: constants.W_OK, both: constants.R_OK | constants.W_OK } as const;

export const hostFacts: HostFacts = {
  read: (file) => {
    try {
      return readFileSync(file, 'utf8').trim();
    } catch {
      return undefined;
    }
  },
  exists: (file) => existsSync(file),
  may: (file, mode) => accessible(file, MODES[mode]),
  which: (program) => {
    const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/sbin', '/sbin'];
    return folders
      .filter((folder) => folder !== '')
      .map((folder) => path.join(folder, program))
      .find((file) => accessible(file, constants.X_OK));
  },
  isRoot: process.geteuid?.() === 0,
  platform: process.platform,
};

function accessible(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}
