#!/usr/bin/env node
// The servers that guests talk to. Runs inside a namespace:
//
//   peer.mjs '{"echo":{"kind":"tcp-echo","address":"198.18.0.1","port":7}, …}'
//
// Prints one JSON object a line: {"ready":{name:{address,port}}} first, then an event for each connection
// that opens and closes. Reads commands from stdin, one JSON object a line ({"id","command","server"}), and
// answers {"id","result"}. Ends when stdin does, unless `--stay` follows (for shells that give none).
// servers.ts is its other side and describes the kinds.

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { parseSize, pieces } from './bytes.mjs';

const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const newStats = () => ({ open: 0, opened: 0, closed: 0, resets: 0, bytesIn: 0, bytesOut: 0, datagrams: 0 });

/** Sends the pieces as fast as the reader takes them, then ends. */
function pump(out, source) {
  const push = () => {
    for (;;) {
      if (out.destroyed) return;
      const { value, done } = source.next();
      if (done) return void out.end();
      if (!out.write(value)) return void out.once('drain', push);
    }
  };
  push();
}

/** Reads at most `rate` bytes a second. */
function limitRate(socket, rate) {
  let budget = 0;
  const timer = setInterval(() => {
    budget = Math.min(budget + rate / 20, rate);
    if (budget > 0) socket.resume();
  }, 50);
  socket.on('data', (data) => {
    budget -= data.length;
    if (budget <= 0) socket.pause();
  });
  socket.on('close', () => clearInterval(timer));
}

/** What each kind does with a connection; `flow` is what the close event will tell. */
const TCP = {
  'tcp-echo': (socket) => {
    socket.on('data', (data) => {
      if (!socket.write(data)) socket.pause();
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => socket.end());
  },
  'tcp-discard': (socket, spec, flow) => {
    const hash = createHash('sha256');
    socket.on('data', (data) => hash.update(data));
    if (spec.rate !== undefined) limitRate(socket, spec.rate);
    socket.on('end', () => {
      flow.sha256 = hash.digest('hex');
      socket.end(`${flow.bytes} ${flow.sha256}\n`);
    });
  },
  'tcp-source': (socket, spec) => {
    socket.resume();
    pump(socket, pieces(spec.bytes ?? 1_048_576, spec.offset ?? 0));
  },
  'tcp-hold': (socket) => socket.resume(),
  'tcp-stall': (socket) => socket.pause(),
  'tcp-banner': (socket, spec) => {
    socket.resume();
    socket.write(spec.text ?? 'hello\r\n');
    socket.on('end', () => socket.end());
  },
  'tcp-reset': (socket, spec, flow) => {
    const enough = () => flow.bytes >= (spec.bytes ?? 0) && socket.resetAndDestroy();
    socket.on('data', enough);
    if ((spec.bytes ?? 0) === 0) enough();
  },
};

function listenTcp(name, spec, serve) {
  const stats = newStats();
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const flow = { bytes: 0, how: 'local', sha256: undefined, error: undefined };
    const remote = { address: socket.remoteAddress, port: socket.remotePort };
    sockets.add(socket);
    stats.open++;
    stats.opened++;
    if (spec.quiet !== true) print({ event: 'open', server: name, remote });
    // A data listener makes the stream flow, and HTTP reads beneath the stream.
    if (spec.kind !== 'tcp-stall' && spec.kind !== 'http') {
      socket.on('data', (data) => {
        flow.bytes += data.length;
        stats.bytesIn += data.length;
      });
    }
    socket.on('end', () => (flow.how = 'fin'));
    socket.on('error', (error) => {
      flow.how = error.code === 'ECONNRESET' ? 'reset' : 'error';
      flow.error = error.code;
      if (flow.how === 'reset') stats.resets++;
    });
    socket.on('close', () => {
      sockets.delete(socket);
      stats.open--;
      stats.closed++;
      stats.bytesOut += socket.bytesWritten;
      if (spec.kind === 'http') {
        flow.bytes = socket.bytesRead;
        stats.bytesIn += flow.bytes;
      }
      if (spec.quiet !== true)
        print({ event: 'close', server: name, remote, sent: socket.bytesWritten, ...flow });
    });
    serve(socket, spec, flow);
  });
  const reset = () => sockets.forEach((socket) => socket.resetAndDestroy());
  const end = () => sockets.forEach((socket) => socket.end());
  const ready = new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: spec.address, port: spec.port ?? 0, backlog: spec.backlog ?? 4096 }, () =>
      resolve(server.address()),
    );
  });
  return { ready, stats: () => stats, reset, end, close: () => server.close() };
}

/** GET /SIZE[?offset=N], PUT or POST anything (answers bytes and digest), GET /headers, /status/N, /slow/MS. */
function httpServer() {
  return createHttpServer({ keepAliveTimeout: 30_000 }, (request, response) => {
    const url = new URL(request.url, 'http://host/');
    const [, first = '', second = ''] = url.pathname.split('/');
    const client = `${request.socket.remoteAddress}:${request.socket.remotePort}`;
    const text = (status, body) => {
      request.resume();
      response.writeHead(status, {
        'content-type': 'text/plain',
        'content-length': Buffer.byteLength(body),
        'x-client': client,
      });
      response.end(body);
    };
    if (request.method === 'PUT' || request.method === 'POST') {
      const hash = createHash('sha256');
      let bytes = 0;
      request.on('data', (data) => {
        bytes += data.length;
        hash.update(data);
      });
      request.on('end', () => text(200, `${bytes} ${hash.digest('hex')}\n`));
      return;
    }
    const size = parseSize(first);
    if (size !== undefined) {
      request.resume();
      response.writeHead(200, {
        'content-type': 'application/octet-stream',
        'content-length': size,
        'x-client': client,
      });
      if (request.method === 'HEAD') return void response.end();
      return pump(response, pieces(size, Number(url.searchParams.get('offset') ?? 0)));
    }
    if (first === '') return text(200, 'hello from the host side\n');
    if (first === 'headers') return text(200, `${JSON.stringify(request.headers)}\n`);
    if (first === 'status') return text(Number(second), `status ${second}\n`);
    if (first === 'slow') return void setTimeout(() => text(200, 'slow\n'), Number(second));
    return text(404, 'no such path\n');
  });
}

/** An HTTP server that takes its connections from a plain one: opens, closes and resets are counted alike. */
function listenHttp(name, spec) {
  const server = httpServer();
  return listenTcp(name, spec, (socket) => server.emit('connection', socket));
}

const DATAGRAM = {
  'udp-echo': (reply, data, remote) => reply.send(data, remote.port, remote.address),
  'udp-discard': () => undefined,
  'udp-third-party': (reply, data, remote) => reply.send(data, remote.port, remote.address),
};

function listenUdp(name, spec) {
  const stats = newStats();
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  const other = spec.kind === 'udp-third-party' ? createSocket('udp4') : undefined;
  socket.on('message', (data, remote) => {
    stats.datagrams++;
    stats.bytesIn += data.length;
    if (spec.quiet !== true)
      print({
        event: 'datagram',
        server: name,
        remote: { address: remote.address, port: remote.port },
        bytes: data.length,
      });
    DATAGRAM[spec.kind](other ?? socket, data, remote);
  });
  other?.on('message', () => stats.opened++);
  const ready = new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(spec.port ?? 0, spec.address, () => {
      socket.on('error', (error) => print({ event: 'error', server: name, error: error.code }));
      if (other === undefined) resolve(socket.address());
      else
        other.bind(spec.replyPort ?? 0, spec.replyAddress ?? spec.address, () => resolve(socket.address()));
    });
  });
  return {
    ready,
    stats: () => stats,
    reset: () => {},
    end: () => {},
    close: () => (socket.close(), other?.close()),
  };
}

function start(name, spec) {
  if (spec.kind in TCP) return listenTcp(name, spec, TCP[spec.kind]);
  if (spec.kind in DATAGRAM) return listenUdp(name, spec);
  if (spec.kind === 'http') return listenHttp(name, spec);
  throw new Error(`unknown kind of server: ${spec.kind}`);
}

const servers = new Map(
  Object.entries(JSON.parse(process.argv[2])).map(([name, spec]) => [name, start(name, spec)]),
);

const COMMANDS = {
  stats: (server) => server.stats(),
  reset: (server) => server.reset(),
  end: (server) => server.end(),
  close: (server) => server.close(),
};

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { id, command, server } = JSON.parse(line);
  print({ id, result: COMMANDS[command](servers.get(server)) ?? null });
});
if (process.argv[3] !== '--stay') input.on('close', () => process.exit(0));

const ready = {};
for (const [name, server] of servers) {
  const { address, port } = await server.ready;
  ready[name] = { address, port };
}
print({ ready });
