/** What the proxy counts. All start at 0. */
export function proxyCounters() {
  return {
    /** Connections of guests, and those beyond the limit. */
    connections: 0,
    refusedConnections: 0,
    /** Connections to somewhere else that were intercepted. */
    intercepted: 0,
    /** Of these, tunnels to the name that TLS said, and to the address; those whose guest said nothing at first. */
    tunnelsByName: 0,
    tunnelsByAddress: 0,
    silent: 0,
    /** Datagrams of QUIC that were refused, so that the guest takes TCP. */
    refusedQuic: 0,
    requests: 0,
    tunnels: 0,
    upgrades: 0,
    /** Requests that were not well-formed, or could be read in two ways. */
    badRequests: 0,
    /** By the policy, or a list of what is allowed. */
    denied: 0,
    /** Answers made here because an upstream or origin failed. */
    failed: 0,
    /** Tunnels that an upstream refused. */
    refusedTunnels: 0,
    /** Requests sent again because a kept connection had ended. */
    retried: 0,
    /** Guests that went away in the middle, and answers that broke off. */
    aborted: 0,
    /** Connections that were closed for being idle. */
    idle: 0,
  };
}

export type ProxyCounters = ReturnType<typeof proxyCounters>;
