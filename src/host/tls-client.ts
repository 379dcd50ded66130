/** TLS over a connection that stands: to upstream proxies that are spoken to by https. */
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { connect, rootCertificates } from 'node:tls';
import { NetproxyError } from '../core/index.js';

/** Certificates that are believed beside those of Node; throws ERR_NETPROXY_CONFIG. */
export function readAuthorities(file: string): readonly string[] {
  try {
    return [...rootCertificates, readFileSync(file, 'utf8')];
  } catch (error) {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `cannot read the certificates of ${file}`, {
      cause: error,
      remedy: 'Name a file of certificates in PEM.',
    });
  }
}

/** The encrypted stream. Rejects with Node's error, whose `code` says why. `authorities` undefined: Node's own. */
export function secureStream(
  stream: Duplex,
  name: string,
  authorities: readonly string[] | undefined,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const isAddress = /^[\d.]+$|:/.test(name);
    const secure = connect({
      socket: stream,
      host: name,
      ...(isAddress ? {} : { servername: name }),
      ...(authorities === undefined ? {} : { ca: [...authorities] }),
      ALPNProtocols: ['http/1.1'],
    });
    secure.once('secureConnect', () => {
      secure.off('error', reject);
      resolve(secure);
    });
    secure.once('error', reject);
    secure.once('close', () => {
      reject(Object.assign(new Error('it closed the connection'), { code: 'ECONNRESET' }));
    });
    // Whoever has no more use for it does not listen any more.
    secure.on('error', () => undefined);
  });
}
