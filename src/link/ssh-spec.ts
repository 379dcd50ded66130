/**
 * A unix socket of the host that leads to one of a guest by ssh, as it is written:
 * `/SOCKET=USER@GUEST[:PORT]:/PATH,identity=FILE[,known-hosts=FILE]`.
 */
import { NetproxyError } from '../core/index.js';
import { checkPath } from './spec.js';

export interface SshForwardSpec {
  /** Path on the host. */
  readonly socket: string;
  readonly user: string;
  /** Address or name of the guest, and port of its ssh. */
  readonly guest: string;
  readonly port: number;
  /** Path in the guest. */
  readonly dest: string;
  /** File of the private key. */
  readonly identity: string;
  /** Host keys that are allowed, in the form of known_hosts; absent: the first one seen. */
  readonly knownHosts?: string | undefined;
}

export const SSH_FORWARD_FORM =
  '/SOCKET=USER@GUEST[:PORT]:/PATH,identity=FILE[,known-hosts=FILE], e.g. /run/docker.sock=root@192.168.127.2:/run/docker.sock,identity=/home/me/.ssh/vm; GUEST is an address or a name';

const FORM = /^(?:unix:)?(\/[^=]*)=([^@=,]+)@([^@:,]+)(?::(\d{1,5}))?:(\/[^,]*)((?:,[^,]*)*)$/;

/** Throws ERR_NETPROXY_CONFIG. */
export function parseSshForward(text: string): SshForwardSpec {
  const match = FORM.exec(text);
  if (match === null) throw bad(text);
  const [, socket = '', user = '', guest = '', port = '22', dest = '', rest = ''] = match;
  const options = new Map<string, string>();
  for (const option of rest.split(',').slice(1)) {
    const [, name = '', value = ''] = /^(identity|known-hosts)=(.+)$/.exec(option) ?? [];
    if (name === '' || options.has(name)) throw bad(text, `"${option}" is no option, or there twice`);
    options.set(name, value);
  }
  const identity = options.get('identity');
  if (identity === undefined) throw bad(text, 'identity=FILE is missing: the key that logs into the guest');
  const spec = {
    socket,
    user,
    guest,
    port: Number(port),
    dest,
    identity,
    knownHosts: options.get('known-hosts'),
  };
  if (spec.port < 1 || spec.port > 65_535) throw bad(text, 'a port is 1 to 65535');
  checkPath(socket);
  checkSshWords(spec);
  return spec;
}

/** Throws ERR_NETPROXY_CONFIG where ssh could take it for something else. */
export function checkSshWords({ user, dest, identity, socket }: SshForwardSpec): void {
  const refuse = (message: string): NetproxyError => new NetproxyError('ERR_NETPROXY_CONFIG', message);
  if (!/^[A-Za-z0-9_][\w.-]{0,63}$/.test(user)) throw refuse(`"${user}" is no user name for ssh`);
  for (const file of [dest, socket])
    if (!file.startsWith('/') || /[\0\n"]|\$\{/.test(file))
      throw refuse(`"${file}" is no path of a socket for ssh`);
  if (/[\0\n"]|\$\{/.test(identity)) throw refuse(`"${identity}" is no path of a key for ssh`);
}

function bad(text: string, why = 'it has another form'): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `"${text}" is no forward by ssh: ${why}`, {
    remedy: `Allowed: ${SSH_FORWARD_FORM}.`,
  });
}
