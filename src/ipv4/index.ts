export * from './header.js';
export * from './ids.js';
export * from './reassembly.js';
