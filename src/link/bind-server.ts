/** A server of node:net or node:http at an address, with errors that say what to do. */
import type { Server } from 'node:net';
import { portHolder } from '../host/index.js';
import { formatLinkAddress } from './spec.js';
import type { LinkAddress } from './spec.js';
import { cannotListen, listenUnix } from './unix-path.js';

export interface BoundServer {
  /** As `parseLinkSpec` reads it, with the port that was chosen. */
  readonly address: string;
  /** Deletes a socket path that is still ours. */
  release(): void;
}

/** Makes the server listen. A unix socket gets mode 0600. Rejects with ERR_NETPROXY_LISTEN. */
export async function bindServer(
  server: Server,
  address: Exclude<LinkAddress, { transport: 'vsock' }>,
): Promise<BoundServer> {
  if (address.transport === 'unix') {
    const bound = await listenUnix(server, address.path);
    return {
      address: formatLinkAddress(address),
      release: () => {
        bound.release();
      },
    };
  }
  await listening(server, address);
  return {
    address: formatLinkAddress(address.transport === 'tcp' ? chosen(server, address) : address),
    release: () => undefined,
  };
}

function listening(
  server: Server,
  address: Extract<LinkAddress, { transport: 'tcp' | 'fd' }>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const where = formatLinkAddress(address);
      const taken = address.transport === 'tcp' && error.code === 'EADDRINUSE';
      const asked = taken
        ? portHolder('tcp', address.port).catch(() => undefined)
        : Promise.resolve(undefined);
      void asked.then((holder) => {
        reject(cannotListen(where, error, holder));
      });
    };
    server.once('error', failed);
    const options =
      address.transport === 'fd' ? { fd: address.fd } : { host: address.host, port: address.port };
    server.listen(options, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

function chosen(server: Server, address: Extract<LinkAddress, { transport: 'tcp' }>): LinkAddress {
  const real = server.address();
  return real === null || typeof real === 'string' ? address : { ...address, port: real.port };
}
