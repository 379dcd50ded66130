export * from './rules.js';
export * from './table.js';
export * from './names.js';
export * from './audit.js';
export * from './learn.js';
export * from './cache.js';
export * from './types.js';
export * from './policy.js';
