export * from './frame.js';
export * from './switch.js';
