/** Unix sockets of the host as published ports: Node's own sockets, bound as those of links are. */
import { createServer } from 'node:net';
import type { HostIo, HostListener, HostStream, HostStreamHandler } from '../core/index.js';
import { NodeStream } from '../host/index.js';
import { listenUnix } from '../link/index.js';

/** The same host, which can listen at paths. What is not a dead socket of ours there is never removed. */
export function withUnixListener(io: HostIo): HostIo {
  return Object.create(io, { listenUnix: { value: listen } }) as HostIo;
}

async function listen(
  path: string,
  onStream: (stream: HostStream) => HostStreamHandler,
): Promise<HostListener> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    const stream = NodeStream.over(socket, true);
    stream.attach(onStream(stream));
  });
  const bound = await listenUnix(server, path);
  // EMFILE and the like while accepting: weather, the client waits in the backlog.
  server.on('error', () => undefined);
  return {
    host: path,
    port: 0,
    close: () => {
      bound.release();
      server.close();
    },
  };
}
