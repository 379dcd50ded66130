export * from './packet.js';
export * from './neighbours.js';
