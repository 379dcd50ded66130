export * from './datagram.js';
