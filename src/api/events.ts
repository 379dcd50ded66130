/** What happens on a network, as plain objects. */
import { formatIpv4 } from '../core/index.js';
import type { Guest, Network, NetworkEvents } from '../index.js';
import { decisionOf, questionOf } from './routes/policy.js';
import type { ApiEvent } from './types.js';

type Untimed<T> = T extends unknown ? Omit<T, 'time'> : never;
type Say = (event: Untimed<ApiEvent>) => void;
type Listeners = { readonly [E in keyof NetworkEvents]: (...args: NetworkEvents[E]) => void };

/** Tells every event of the network until the returned function is called. */
export function watchEvents(network: Network, tell: (event: ApiEvent) => void): () => void {
  const listeners = listenersOf(network, (event) => {
    tell({ time: new Date().toISOString(), ...event });
  });
  const each = (action: 'on' | 'off'): void => {
    for (const [name, listener] of Object.entries(listeners))
      network[action](name as keyof NetworkEvents, listener);
  };
  each('on');
  return () => {
    each('off');
  };
}

function listenersOf(network: Network, say: Say): Listeners {
  return {
    started: () => {
      say({ event: 'started', addresses: network.addresses, ports: network.ports() });
    },
    attached: (guest) => {
      say({ event: 'attached', ...about(guest) });
    },
    detached: (guest, reason) => {
      say({
        event: 'detached',
        ...about(guest),
        ...(reason === undefined ? {} : { reason: reason.message }),
      });
    },
    lease: ({ kind, lease: { ip, mac, hostname, guest } }) => {
      say({ event: 'lease', kind, ip: formatIpv4(ip), mac, hostname, guest: guest?.toString() });
    },
    published: (port) => {
      say({ event: 'published', port });
    },
    unpublished: (port) => {
      say({ event: 'unpublished', port });
    },
    ask: (question) => {
      say({ event: 'ask', question: questionOf(question) });
    },
    answered: (question, outcome) => {
      say({ event: 'answered', question: questionOf(question), outcome });
    },
    decision: (entry) => {
      say({ event: 'decision', decision: decisionOf(entry) });
    },
    warning: (message) => {
      say({ event: 'warning', message });
    },
    stopped: () => {
      say({ event: 'stopped' });
    },
  };
}

function about({ id, name, link }: Guest) {
  return { guest: name, id, link: { kind: link.kind, name: link.name } };
}
