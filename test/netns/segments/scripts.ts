/** All scripts. */
import type { Script } from './play.js';
import { CLOSING } from './scripts-close.js';
import { ESTABLISHED } from './scripts-data.js';
import { OPENING, SYN_SENT } from './scripts-open.js';

export const SCRIPTS: readonly Script[] = [...OPENING, ...SYN_SENT, ...ESTABLISHED, ...CLOSING];
