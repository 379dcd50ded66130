/** The command line, for programs that bring their own terminal. */
export { EXIT } from './exit.js';
export { main } from './program.js';
export type { Terminal } from './terminal.js';
