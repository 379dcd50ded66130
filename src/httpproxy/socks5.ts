/** SOCKS 5, CONNECT (RFC 1928), with user and password (RFC 1929). */
import type { Duplex } from 'node:stream';
import type { Host } from './host.js';
import { Answered, detailsOf } from './problem.js';
import { Reader } from './reader.js';
import type { Credentials, ProxyUpstream } from './upstream.js';

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const USER_PASSWORD = 2;
const IPV4 = 1;
const DOMAIN = 3;
const IPV6 = 4;

/** Replies of RFC 1928 section 6, as errno where there is one. */
const REPLIES: readonly (readonly [text: string, errno: string])[] = [
  ['succeeded', ''],
  ['general failure', 'ECONNABORTED'],
  ['its rules do not allow it', 'EACCES'],
  ['network unreachable', 'ENETUNREACH'],
  ['host unreachable', 'EHOSTUNREACH'],
  ['connection refused', 'ECONNREFUSED'],
  ['TTL expired', 'EHOSTUNREACH'],
  ['it does not know CONNECT', 'EOPNOTSUPP'],
  ['it does not know this kind of address', 'EAFNOSUPPORT'],
];

/** Greets the proxy, and authenticates: it takes a connection then. Rejects with an error whose `code` says why. */
export async function socksGreet(
  stream: Duplex,
  { credentials }: Pick<ProxyUpstream, 'credentials'>,
): Promise<void> {
  const reader = new Reader(stream);
  const method = credentials === undefined ? NO_AUTHENTICATION : USER_PASSWORD;
  stream.write(Buffer.from([VERSION, 1, method]));
  const chosen = await reader.take(2);
  if (chosen[0] !== VERSION) throw failure('it does not speak SOCKS 5', 'EPROTO');
  if (chosen[1] !== method) throw failure('it wants other credentials', 'EACCES');
  if (credentials !== undefined) await authenticate(stream, reader, credentials);
  if (reader.bytes.length > 0) throw failure('it answers what nobody asked', 'EPROTO');
}

/** Asks one that was greeted for a connection; resolves with what follows the answer. Rejects with `Answered`, or as `socksGreet`. */
export async function socksConnect(
  stream: Duplex,
  host: Host,
  port: number,
  { name }: Pick<ProxyUpstream, 'name'>,
): Promise<Buffer> {
  const reader = new Reader(stream);
  const portBytes = Buffer.from([port >> 8, port & 255]);
  stream.write(Buffer.concat([Buffer.from([VERSION, 1, 0]), addressOf(host), portBytes]));
  const reply = await reader.take(4);
  const [version, code = 0, , type] = reply;
  if (version !== VERSION) throw failure('it does not speak SOCKS 5', 'EPROTO');
  if (code !== 0) {
    const [text, errno] = REPLIES[code] ?? [`reply ${code}`, 'ECONNABORTED'];
    const details = detailsOf(failure(text, errno), name);
    throw new Answered({ ...details, message: `${name} answered: ${text}`, check: 'Check the destination.' });
  }
  // The address it is bound to: of no use, but in the way.
  if (type === IPV4) await reader.take(4 + 2);
  else if (type === IPV6) await reader.take(16 + 2);
  else if (type === DOMAIN) await reader.take((await reader.take(1))[0]! + 2);
  else throw failure('its answer has no address', 'EPROTO');
  return reader.rest();
}

async function authenticate(stream: Duplex, reader: Reader, { user, password }: Credentials): Promise<void> {
  const name = Buffer.from(user);
  const secret = Buffer.from(password);
  if (name.length > 255 || secret.length > 255)
    throw failure('user and password of SOCKS have 255 bytes at most', 'EINVAL');
  stream.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([secret.length]), secret]));
  const [, status] = await reader.take(2);
  if (status !== 0) throw failure('it refused user and password', 'EACCES');
}

function addressOf(host: Host): Buffer {
  switch (host.kind) {
    case 'ipv4': {
      const bytes = Buffer.alloc(5);
      bytes[0] = IPV4;
      bytes.writeUInt32BE(host.ip, 1);
      return bytes;
    }
    case 'ipv6':
      return Buffer.concat([
        Buffer.from([IPV6]),
        Buffer.from(host.value.toString(16).padStart(32, '0'), 'hex'),
      ]);
    case 'name':
      return Buffer.concat([Buffer.from([DOMAIN, host.name.length]), Buffer.from(host.name, 'latin1')]);
  }
}

function failure(message: string, code: string): Error {
  return Object.assign(new Error(message), { code });
}
