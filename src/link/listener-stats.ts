/** What a listener counts. */
export interface ListenerStats {
  /** Links that live. */
  links: number;
  accepted: number;
  /** Handshakes that failed or were late. */
  refused: number;
  /** Connections closed because of MAX_HANDSHAKES or MAX_LINKS. */
  overLimit: number;
  /** vfkit: peers that made place for another one, the one that was silent the longest first. */
  evicted: number;
  redials: number;
  /** qemu: connections that ended before they said anything. */
  probes: number;
}

/** Counters at their beginning. */
export function newStats(): ListenerStats {
  return { links: 0, accepted: 0, refused: 0, overLimit: 0, evicted: 0, redials: 0, probes: 0 };
}
