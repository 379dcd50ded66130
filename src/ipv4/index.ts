export * from './header.js';
export * from './ids.js';
export * from './options.js';
export * from './reassembly.js';
