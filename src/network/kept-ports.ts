/**
 * Published ports in the state file. Those of the configuration are not written down: they come with it. The others come back after
 * a restart as they were, with the port that the host had chosen. One that cannot be had then (somebody took it meanwhile) stays in
 * the list as waiting, and is tried again after FIRST_RETRY, then after twice that, up to LAST_RETRY, until it listens or is
 * withdrawn.
 */
import { type Logger, type Millis, NetproxyError, type Scheduler } from '../core/index.js';
import {
  type PublishSpec,
  type PublishedPort,
  type Publisher,
  formatPublish,
  parsePublish,
} from '../forwarder/index.js';
import type { StateStore } from '../host/index.js';

const PORT = 'port';
const FIRST_RETRY: Millis = 1000;
const LAST_RETRY: Millis = 60_000;

export interface KeptPortsParts {
  readonly publisher: Publisher;
  readonly logger: Logger;
  readonly scheduler: Scheduler;
}

export class KeptPorts {
  private readonly parts: KeptPortsParts;
  private readonly opened: (port: PublishedPort) => void;
  private store: StateStore | undefined;
  /** Those that came back and that nobody has asked for since, by their text. */
  private readonly adopted = new Map<string, PublishedPort>();
  private readonly retries = new Map<PublishedPort, () => void>();

  /** `opened`: hears of ports that listen. */
  constructor(parts: KeptPortsParts, opened: (port: PublishedPort) => void) {
    this.parts = parts;
    this.opened = opened;
  }

  /** Ports come back that the file holds; resolves when each was tried once. Those that the configuration has are its own. */
  async open(store: StateStore): Promise<void> {
    const { publisher, logger } = this.parts;
    const configured = new Set([...publisher.ports()].map(placeOf));
    const records = [...store.entries(PORT)];
    this.store = store;
    for (const [text] of records) {
      const spec = specOf(text);
      if (spec === undefined || configured.has(placeOf({ spec, port: spec.hostPort }))) {
        logger.warn(`published port ${text} of the state file is left out: the configuration says otherwise`);
        store.delete(PORT, text);
        continue;
      }
      const port = publisher.adopt(spec);
      this.adopted.set(text, port);
      await this.tryOpen(port, FIRST_RETRY);
    }
    if (records.length > 0)
      logger.info(`${this.adopted.size} published ports taken back from the state file`);
    store.commit(() => undefined);
  }

  /** It shall outlive this process. */
  keep(port: PublishedPort): void {
    this.store?.put(PORT, textOf(port), true);
    this.store?.commit(() => undefined);
  }

  /** It shall not. */
  unkeep(port: PublishedPort): void {
    if (!this.keeps(port)) return;
    this.store?.delete(PORT, textOf(port));
    this.store?.commit(() => undefined);
  }

  keeps(port: PublishedPort): boolean {
    return this.store?.has(PORT, textOf(port)) === true;
  }

  /** It was withdrawn. */
  forget(port: PublishedPort): void {
    this.retries.get(port)?.();
    this.retries.delete(port);
    this.adopted.delete(textOf(port));
    this.store?.delete(PORT, textOf(port));
    this.store?.commit(() => undefined);
  }

  /** The port that came back, for who publishes the same again: once. */
  claim(spec: PublishSpec): PublishedPort | undefined {
    const text = formatPublish(spec);
    const port = this.adopted.get(text);
    if (port === undefined) return undefined;
    this.adopted.delete(text);
    if (port.waiting === undefined) return port;
    this.forget(port);
    port.close();
    return undefined;
  }

  stop(): void {
    for (const cancel of this.retries.values()) cancel();
    this.retries.clear();
  }

  private async tryOpen(port: PublishedPort, wait: Millis): Promise<void> {
    const { logger, scheduler } = this.parts;
    this.retries.delete(port);
    try {
      await port.open();
      this.opened(port);
    } catch (error) {
      if (port.closed) return;
      if (wait === FIRST_RETRY)
        logger.warn(`published port ${textOf(port)} waits: ${(error as Error).message}; it is tried again`);
      const again = (): void => void this.tryOpen(port, Math.min(wait * 2, LAST_RETRY));
      this.retries.set(port, scheduler.after(wait, again));
    }
  }
}

/** With the port that the host chose: the same one comes back. */
function textOf({ spec, port }: PublishedPort): string {
  return formatPublish({ ...spec, hostPort: port });
}

function specOf(text: string): PublishSpec | undefined {
  try {
    return parsePublish(text);
  } catch (error) {
    if (error instanceof NetproxyError) return undefined;
    throw error;
  }
}

/** Two ports of one place cannot both listen. */
function placeOf({ spec, port }: Pick<PublishedPort, 'spec' | 'port'>): string {
  return spec.hostPath ?? `${spec.protocol}/${spec.hostIp}/${port}`;
}
