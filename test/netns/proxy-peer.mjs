#!/usr/bin/env node
// Peers of the HTTP proxy under load. Each prints JSON objects, one a line.
//
//   proxy-peer.mjs proxy PORT NAME [USER:PASSWORD]   a proxy that says who it is (X-Proxy)
//   proxy-peer.mjs origin ADDRESS PORT               /hold goes on and on; an upgrade gets back what it sends
//   proxy-peer.mjs tunnels HOST:PORT URL COUNT       upgrades through a proxy, all open at once until stdin ends
//   proxy-peer.mjs aborts HOST:PORT URL COUNT        requests and CONNECTs through it that are given up in the middle
//
// The last two print {"open"} and {"done"}, with the number of those that went wrong.

import { createServer, request as httpRequest } from 'node:http';
import { connect } from 'node:net';

const [role, ...args] = process.argv.slice(2);
const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const quiet = (stream) => stream.on('error', () => undefined);

function proxy(port, name, user) {
  const wanted = user === undefined ? undefined : `Basic ${Buffer.from(user).toString('base64')}`;
  const refuses = ({ headers }) => wanted !== undefined && headers['proxy-authorization'] !== wanted;
  const server = createServer((request, response) => {
    if (refuses(request)) return void response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end();
    const headers = { ...request.headers };
    delete headers['proxy-authorization'];
    const sent = httpRequest(request.url, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode, { ...answer.headers, 'x-proxy': name });
      answer.pipe(response);
    });
    sent.on('error', () => response.destroy());
    response.on('close', () => sent.destroy());
    request.pipe(sent);
  });
  server.on('connect', (request, socket) => {
    quiet(socket);
    if (refuses(request)) return void socket.end('HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n');
    const [host, to] = request.url.split(':');
    const outside = connect(Number(to), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(outside).pipe(socket);
    });
    quiet(outside).on('close', () => socket.destroy());
    socket.on('close', () => outside.destroy());
  });
  server.listen(Number(port), '127.0.0.1', () => print({ ready: name }));
}

function origin(address, port) {
  const piece = Buffer.alloc(16_384, 'x');
  const server = createServer((request, response) => {
    request.resume();
    const push = () => {
      while (!response.destroyed && response.write(piece));
    };
    response.on('drain', push);
    push();
  });
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    quiet(socket).pipe(socket);
  });
  server.listen({ host: address, port: Number(port), backlog: 8192 }, () => print({ ready: 'origin' }));
}

/** Runs `work` for each number, so many at once; resolves with how many went wrong. */
async function all(count, atOnce, work) {
  let next = 0;
  let failed = 0;
  const worker = async () => {
    while (next < count) if (!(await work(next++))) failed++;
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return failed;
}

const place = (text) => ({ host: text.split(':')[0], port: Number(text.split(':')[1]) });

async function tunnels(via, url, count) {
  const { host } = new URL(url);
  const open = [];
  const failed = await all(Number(count), 64, (i) => {
    const socket = quiet(connect({ ...place(via) }));
    open.push(socket);
    const said = `ping ${i} from here`;
    const head = `GET ${url} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    socket.write(`${head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
    return new Promise((resolve) => {
      let text = '';
      socket.on('data', (data) => {
        const had = text.includes('\r\n\r\n');
        text += data;
        if (!had && text.includes('\r\n\r\n')) {
          if (!text.startsWith('HTTP/1.1 101 ')) return void resolve(false);
          socket.write(said);
        }
        if (text.endsWith(said)) resolve(true);
      });
      socket.on('close', () => resolve(false));
    });
  });
  print({ open: open.filter((socket) => !socket.destroyed).length, failed });
  process.stdin.resume().on('end', async () => {
    // All of them still carry.
    const broken = await all(open.length, 64, (i) => {
      const socket = open[i];
      return new Promise((resolve) => {
        socket.once('data', (data) => resolve(String(data) === 'bye'));
        socket.once('close', () => resolve(false));
        socket.write('bye');
      });
    });
    for (const socket of open) socket.end();
    await Promise.all(
      open.map((socket) => socket.destroyed || new Promise((resolve) => socket.once('close', resolve))),
    );
    print({ done: open.length, failed: broken });
  });
}

/** In turns: while the answer comes, while a body goes, in a tunnel, before the answer, by FIN or RST. */
async function aborts(via, url, count) {
  const { hostname, port } = new URL(url);
  const host = `${hostname}:${port === '' ? 80 : port}`;
  const heads = [
    `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    `POST ${url} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\nsome of it`,
    `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\nGET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  ];
  const failed = await all(Number(count), 64, (i) => {
    const socket = quiet(connect({ ...place(via) }));
    socket.write(heads[i % heads.length]);
    const leave = () => (i % 2 === 0 ? socket.resetAndDestroy() : socket.destroy());
    return new Promise((resolve) => {
      socket.once('close', () => resolve(true));
      if (i % 7 === 0) socket.once('connect', leave);
      else socket.once('data', leave);
    });
  });
  print({ done: Number(count), failed });
}

({ proxy, origin, tunnels, aborts })[role](...args);
