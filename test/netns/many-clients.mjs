#!/usr/bin/env node
// Many HTTP clients at once: argv[2], or standard input where that is -, is JSON, a list of { host, port, from }. Prints a JSON list of the bodies, or of the
// errors' codes, in the same order. All connections stand before the first request is sent.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

const wanted = JSON.parse(process.argv[2] === '-' ? readFileSync(0, 'utf8') : process.argv[2]);
let waiting = wanted.length;
let go;
const all = new Promise((resolve) => (go = resolve));
const arrived = () => {
  if (--waiting === 0) go();
};

function ask({ host, port, from }) {
  return new Promise((resolve) => {
    const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
    let text = '';
    let connected = false;
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    socket.once('connect', async () => {
      connected = true;
      arrived();
      await all;
      socket.write('GET / HTTP/1.0\r\n\r\n');
    });
    socket.once('error', (error) => {
      if (!connected) arrived();
      resolve(error.code);
    });
    socket.once('close', () => resolve(text.slice(text.indexOf('\r\n\r\n') + 4).trim()));
  });
}

process.stdout.write(`${JSON.stringify(await Promise.all(wanted.map(ask)))}\n`);
