export * from './sntp.js';
