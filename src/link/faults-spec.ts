/** Faults as text, for the `--faults` flag. */
import { NetproxyError } from '../core/index.js';

/** What to do to frames. Shares are 0 to 1. */
export interface Faults {
  /** Share of frames that vanish. */
  readonly loss?: number;
  /** Share that is held back REORDER_MIN to REORDER_MAX ms longer than the others. */
  readonly reorder?: number;
  /** Share that arrives twice. */
  readonly duplicate?: number;
  /** Share in which one bit is turned. */
  readonly corrupt?: number;
  /** One way, ms. */
  readonly delay?: number;
  /** Up to this much more, uniform, ms; frames overtake each other. */
  readonly jitter?: number;
  /** Bits per second of each direction; 0 or absent: no limit. */
  readonly rate?: number;
}

const SHARES = ['loss', 'reorder', 'duplicate', 'corrupt'] as const;
const TIMES = ['delay', 'jitter'] as const;
const FORMS =
  'loss=2%, reorder=2%, duplicate=1%, corrupt=1%, delay=20ms, jitter=5ms, rate=100mbit, joined by commas';
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Parses the value of `--faults`. Throws ERR_NETPROXY_CONFIG that names the part that is wrong and what is allowed. */
export function parseFaults(text: string): Faults {
  const faults: Partial<Record<keyof Faults, number>> = {};
  for (const part of text.split(',')) {
    const [key = '', value, ...more] = part.trim().split('=');
    const parsed = value === undefined || more.length > 0 ? undefined : parseFault(key, value.trim());
    if (parsed === undefined || key in faults) {
      const why = key in faults ? 'is given twice' : 'is not understood';
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `faults: "${part.trim()}" ${why}`, {
        remedy: `Allowed: ${FORMS}.`,
      });
    }
    faults[key as keyof Faults] = parsed;
  }
  return faults;
}

function parseFault(key: string, value: string): number | undefined {
  if ((SHARES as readonly string[]).includes(key)) {
    const match = /^(\d+(?:\.\d+)?)%$/.exec(value);
    const percent = Number(match?.[1]);
    return percent <= 100 ? percent / 100 : undefined;
  }
  if ((TIMES as readonly string[]).includes(key)) {
    const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(value);
    const ms = Number(match?.[1]) * (match?.[2] === 's' ? 1000 : 1);
    return ms <= 60_000 ? ms : undefined;
  }
  return key === 'rate' ? parseRate(value) : undefined;
}

/** Bits per second from text such as `100mbit`; undefined when it is none. */
export function parseRate(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)bit$/.exec(text);
  const rate = Number(match?.[1]) * UNITS[match?.[2] ?? '']!;
  return rate > 0 ? rate : undefined;
}
