/** `netproxy demo`: the main job step by step, on the best guest that this host has. */
export { demo, type DemoOptions, parseSize } from './demo.js';
