#!/usr/bin/env node
// Sends bytes as they are and tells what comes back:
//
//   raw-http.mjs HOST PORT < messages
//
// A line of stdin is the base64 of what goes over one connection; a line of stdout, in the same order, is the base64
// of all that came until the connection ended, or `"late"` when it did not end within 30 s.

import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

const [host, port] = process.argv.slice(2);
const AT_ONCE = 8;

function ask(message) {
  return new Promise((resolve) => {
    const chunks = [];
    const socket = connect({ host, port: Number(port) });
    const timer = setTimeout(() => {
      resolve('late');
      socket.destroy();
    }, 30_000);
    socket.on('data', (chunk) => chunks.push(chunk));
    // A reset is an end like any other.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString('base64'));
    });
    socket.write(Buffer.from(message, 'base64'));
  });
}

const messages = (await text(process.stdin)).split('\n').filter((line) => line !== '');
const answers = [];
const left = messages.entries();
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (const [index, message] of left) answers[index] = await ask(message);
  }),
);
process.stdout.write(`${answers.join('\n')}\n`);
