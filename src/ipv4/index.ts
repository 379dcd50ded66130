export * from './header.js';
export * from './reassembly.js';
