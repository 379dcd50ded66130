export * from './errno.js';
export * from './listen-error.js';
export * from './node-io.js';
export * from './routes.js';
export * from './scheduler.js';
export * from './state-disk.js';
export * from './state-store.js';
export * from './system-dns.js';
