/** What the operating systems' tools say about proxies, read. The parsers never throw; what they do not understand says nothing. */

/** Proxies as the user of this host has set them. */
export interface SystemProxy {
  /** Upstreams as `parseUpstream` reads them; empty: straight. */
  readonly http: readonly string[];
  readonly https: readonly string[];
  readonly noProxy: readonly string[];
  /** A proxy auto-config file, which goes before the lists. */
  readonly pac: string | undefined;
}

export const NO_SYSTEM_PROXY: SystemProxy = { http: [], https: [], noProxy: [], pac: undefined };

/** `scutil --proxy` of macOS. */
export function parseScutilProxy(text: string): SystemProxy {
  const values = new Map<string, string>();
  const exceptions: string[] = [];
  const path: string[] = [];
  for (const line of text.split('\n')) {
    if (/^\s*\}/.test(line)) path.pop();
    const match = /^\s*(?:(.+?) : )?(.*?)\s*$/.exec(line);
    const [, key = '', value = ''] = match ?? [];
    if (/^<(dictionary|array)> \{$/.test(value)) path.push(key);
    // Those of one interface are below __SCOPED__: not for everybody.
    else if (path.length === 1) values.set(key, value);
    else if (path.length === 2 && path[1] === 'ExceptionsList') exceptions.push(value);
  }
  const at = (kind: string, scheme: string): string[] =>
    values.get(`${kind}Enable`) === '1'
      ? server(scheme, values.get(`${kind}Proxy`), values.get(`${kind}Port`))
      : [];
  const socks = at('SOCKS', 'socks5h');
  const pac =
    values.get('ProxyAutoConfigEnable') === '1' ? values.get('ProxyAutoConfigURLString') : undefined;
  return {
    http: first(at('HTTP', 'http'), socks),
    https: first(at('HTTPS', 'http'), socks),
    noProxy: [
      ...exceptions.map(wholeNetwork),
      ...(values.get('ExcludeSimpleHostnames') === '1' ? ['<local>'] : []),
    ],
    pac: pac === '' ? undefined : pac,
  };
}

/** `reg query "HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"` of Windows. */
export function parseRegistryProxy(text: string): SystemProxy {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^ {4}(\S+) {4}REG_\w+(?: {4}(.*))?$/.exec(line);
    if (match !== null) values.set(match[1]!.toLowerCase(), (match[2] ?? '').trim());
  }
  const enabled = Number(values.get('proxyenable') ?? 0) === 1;
  const servers = enabled ? registryServers(values.get('proxyserver') ?? '') : undefined;
  const socks = servers?.get('socks') ?? [];
  return {
    http: first(servers?.get('http') ?? [], socks),
    https: first(servers?.get('https') ?? [], socks),
    noProxy: (values.get('proxyoverride') ?? '')
      .split(/[;\s]+/)
      // <-loopback> is about the host's own loopback, where guests are not.
      .filter((entry) => entry !== '' && !entry.startsWith('<-')),
    pac: values.get('autoconfigurl') || undefined,
  };
}

/** `gsettings list-recursively org.gnome.system.proxy`. */
export function parseGsettingsProxy(text: string): SystemProxy {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^org\.gnome\.system\.proxy(?:\.(\w+))? ([\w-]+) (.*?)\s*$/.exec(line);
    if (match !== null) values.set(`${match[1] ?? ''} ${match[2]!}`, match[3]!);
  }
  const textOf = (key: string): string | undefined => strings(values.get(key) ?? '')[0];
  const mode = textOf(' mode');
  if (mode === 'auto') {
    const pac = textOf(' autoconfig-url');
    // Without a URL it means WPAD.
    return pac === undefined || pac === '' ? NO_SYSTEM_PROXY : { ...NO_SYSTEM_PROXY, pac };
  }
  if (mode !== 'manual') return NO_SYSTEM_PROXY;
  const authenticates = values.get('http use-authentication') === 'true';
  const user = authenticates
    ? [textOf('http authentication-user'), textOf('http authentication-password')]
        .map((part) => encodeURIComponent(part ?? ''))
        .join(':')
    : undefined;
  const at = (kind: string, scheme: string, who?: string): string[] =>
    server(scheme, textOf(`${kind} host`), values.get(`${kind} port`), who);
  const socks = at('socks', 'socks5h');
  return {
    http: first(at('http', 'http', user), socks),
    https: first(at('https', 'http', user), socks),
    noProxy: strings(values.get(' ignore-hosts') ?? ''),
    pac: undefined,
  };
}

function first(...lists: readonly (readonly string[])[]): readonly string[] {
  return lists.find((list) => list.length > 0) ?? [];
}

function server(scheme: string, host: string | undefined, port: string | undefined, user?: string): string[] {
  const number = Number(port ?? 0);
  if (host === undefined || host === '' || !Number.isInteger(number) || number < 1 || number > 65_535)
    return [];
  const bare = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return [`${scheme}://${user === undefined ? '' : `${user}@`}${bare}:${number}`];
}

/** `169.254/16`, as Apple writes networks. */
function wholeNetwork(entry: string): string {
  const match = /^(\d+(?:\.\d+){0,2})\.?\/(\d+)$/.exec(entry);
  if (match === null) return entry;
  const parts = match[1]!.split('.');
  return `${[...parts, '0', '0', '0'].slice(0, 4).join('.')}/${match[2]!}`;
}

/** `proxy:8080` for everything, or `http=a:80;https=b:443;socks=c:1080`. */
function registryServers(text: string): Map<string, string[]> {
  const parts = text.split(/[;\s]+/).filter((part) => part !== '');
  const found = new Map<string, string[]>();
  for (const part of parts) {
    const match = /^(?:(\w+)=)?(?:(\w+):\/\/)?([^/=]+)\/?$/.exec(part);
    if (match === null) continue;
    const [, kind, scheme, where] = match as unknown as [string, string?, string?, string?];
    const kinds = kind === undefined ? ['http', 'https'] : [kind.toLowerCase()];
    const by = scheme?.toLowerCase() ?? (kind?.toLowerCase() === 'socks' ? 'socks5h' : 'http');
    for (const one of kinds) if (!found.has(one)) found.set(one, [`${by}://${where!}`]);
  }
  return found;
}

/** Texts of a GVariant in its own notation: `'a'`, `['a', "b's"]`, `@as []`. */
function strings(text: string): string[] {
  return [...text.matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/g)].map((match) =>
    (match[1] ?? match[2] ?? '').replaceAll(/\\(.)/g, '$1'),
  );
}
