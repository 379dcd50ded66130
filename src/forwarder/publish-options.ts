/** What may stand behind a published port, after commas: `8080:80,preserve-source,max-connections=100`. */

/** Connections of one published port, or clients of a TCP port that are being connected. */
export const MAX_CONNECTIONS = 16_384;
export const PROXY_PROTOCOLS = ['v1', 'v2'] as const;
export type ProxyProtocol = (typeof PROXY_PROTOCOLS)[number];

export interface PublishOptions {
  /** The guest sees the client's own IPv4 address, and port where that is free. Default false: it sees the gateway. */
  readonly preserveSource?: boolean | undefined;
  /** The guest is told who the client is by a header before its first byte (TCP). Default: it is not. */
  readonly proxyProtocol?: ProxyProtocol | undefined;
  /** Connections, or UDP clients, at once: 1 to 16,384. Default 16,384, of UDP clients 1,024. */
  readonly maxConnections?: number | undefined;
}

/** Options as text; what they are follows it, what is wrong is thrown by `bad`. */
export function parseOptions(
  text: string,
  protocol: 'tcp' | 'udp',
  bad: (why: string) => Error,
): PublishOptions {
  const found: { -readonly [K in keyof PublishOptions]: PublishOptions[K] } = {};
  for (const option of text.split(',').slice(1)) {
    const [name, value] = option.split('=', 2);
    if (option === 'preserve-source') found.preserveSource = true;
    else if (name === 'proxy-protocol') found.proxyProtocol = PROXY_PROTOCOLS.find((one) => one === value);
    else if (name === 'max-connections')
      found.maxConnections = /^\d{1,5}$/.test(value ?? '') ? Number(value) : 0;
    else
      throw bad(
        `"${option}" is none of preserve-source, proxy-protocol=v1, proxy-protocol=v2, max-connections=N`,
      );
    if (name === 'proxy-protocol' && found.proxyProtocol === undefined)
      throw bad(`the PROXY protocol has the versions ${PROXY_PROTOCOLS.join(' and ')}`);
  }
  const fault = optionsFault(found, protocol);
  if (fault !== undefined) throw bad(fault);
  return found;
}

/** Why options do not fit each other; undefined when they do. */
export function optionsFault(options: PublishOptions, protocol: 'tcp' | 'udp'): string | undefined {
  const { proxyProtocol, maxConnections: most } = options;
  if (proxyProtocol !== undefined && protocol === 'udp') return 'the PROXY protocol is for TCP';
  if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= MAX_CONNECTIONS))
    return `max-connections is 1 to ${MAX_CONNECTIONS}`;
  return undefined;
}

/** The text that `parseOptions` reads; '' without any. */
export function formatOptions({ preserveSource, proxyProtocol, maxConnections }: PublishOptions): string {
  return [
    preserveSource === true ? ',preserve-source' : '',
    proxyProtocol === undefined ? '' : `,proxy-protocol=${proxyProtocol}`,
    maxConnections === undefined ? '' : `,max-connections=${maxConnections}`,
  ].join('');
}
