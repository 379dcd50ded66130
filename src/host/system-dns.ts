import { lookup } from 'node:dns/promises';
import type { HostResolver, Logger } from '../core/index.js';
import type { DnsUpstream, HostsNames } from '../dns/index.js';

export interface SystemDns {
  readonly resolver: HostResolver;
  readonly upstream: DnsUpstream;
  readonly hosts: HostsNames | undefined;
  mode(): 'relay' | 'resolver';
  close(): void;
}

// Placeholder until the resolver lands.
export function systemDns(_options: { readonly logger: Logger; readonly servers?: readonly string[] | undefined }): SystemDns {
  return {
    resolver: {
      lookup: async (name, family) => (await lookup(name, { family, all: true })) as never,
      reverse: () => Promise.resolve([]),
      close: () => undefined,
    },
    upstream: { query: () => Promise.reject(new Error('none')), close: () => undefined },
    hosts: undefined,
    mode: () => 'resolver',
    close: () => undefined,
  };
}
