/** Where a command writes. Tests give their own; the real one touches process.stdout only when something is written. */
import pc from 'picocolors';

export interface Terminal {
  /** Results. */
  out(text: string): void;
  /**
   * Resolves when the reader took all of `out`, or went away. The process ends without waiting for readers: who prints much waits
   * itself.
   */
  taken?(): Promise<void>;
  /** Everything else: errors, logs, progress. */
  err(text: string): void;
  /** Whether `out`, or `err`, may be coloured. */
  readonly color: { readonly out: boolean; readonly err: boolean };
}

/** The process's own streams. A reader that went away is no reason to end. */
export function processTerminal(): Terminal {
  const guarded = new Set<NodeJS.WriteStream>();
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    if (!guarded.has(stream)) {
      guarded.add(stream);
      stream.on('error', () => undefined);
    }
    stream.write(text);
  };
  return {
    out: (text) => write(process.stdout, text),
    taken: () =>
      new Promise((resolve) => {
        if (guarded.has(process.stdout)) process.stdout.write('', () => resolve());
        else resolve();
      }),
    err: (text) => write(process.stderr, text),
    color: {
      get out() {
        // isTTY is undefined for a pipe, and undefined would mean picocolors' own guess (colours under CI=true).
        return process.stdout.isTTY ? pc.isColorSupported : false;
      },
      get err() {
        return process.stderr.isTTY ? pc.isColorSupported : false;
      },
    },
  };
}
