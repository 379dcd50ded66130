/**
 * Follows what containers do, and has their ports follow.
 *
 * Theory of operation. The stream of events is opened first, then everything that runs is looked at, then events are taken one by
 * one: nothing that happens in between is missed. When the stream ends, because the engine or its machine went away, ports stay
 * as they are until it can be opened again, tried every RETRY_LEAST to RETRY_MOST; then everything is looked at anew.
 */
import type { Logger } from '../../core/index.js';
import type { Engine } from './engine.js';
import { pause } from './pause.js';
import { MAX_CONTAINERS, type PublishedPorts } from './published.js';

const RETRY_LEAST = 100;
const RETRY_MOST = 5000;
/** Containers looked at side by side. */
const SIDE_BY_SIDE = 4;

export class Watch {
  private readonly engine: Engine;
  private readonly ports: PublishedPorts;
  private readonly logger: Logger;
  private readonly stopped = new AbortController();
  private ending: Promise<void> | undefined;
  private told: string | undefined;

  constructor(engine: Engine, ports: PublishedPorts, logger: Logger) {
    this.engine = engine;
    this.ports = ports;
    this.logger = logger;
  }

  start(): void {
    this.ending ??= this.run();
  }

  async close(): Promise<void> {
    this.stopped.abort();
    await this.ending;
  }

  /** Looks at one container and has its ports follow. Never rejects. */
  async look(name: string): Promise<void> {
    try {
      const container = await this.engine.inspect(name, this.stopped.signal);
      if (container === undefined) await this.ports.release(name);
      else await this.ports.settle(container);
    } catch (error) {
      if (!this.stopped.signal.aborted)
        this.logger.warn(
          `docker: the ports of ${name.slice(0, 64)} are not known: ${(error as Error).message}`,
        );
    }
  }

  /** Looks at everything that runs. Rejects when the engine does not tell. */
  async lookAtAll(): Promise<void> {
    const { signal } = this.stopped;
    const running = (await this.engine.running(signal)).slice(0, MAX_CONTAINERS);
    const alive = new Set(running);
    for (const id of this.ports.containers()) if (!alive.has(id)) await this.ports.release(id);
    const left = [...alive];
    const worker = async (): Promise<void> => {
      for (let id = left.pop(); id !== undefined && !signal.aborted; id = left.pop()) await this.look(id);
    };
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
  }

  private async run(): Promise<void> {
    let wait = RETRY_LEAST;
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        await this.follow(() => (wait = RETRY_LEAST));
        this.tell('its events ended');
      } catch (error) {
        this.tell((error as Error).message);
      }
      await pause(wait, signal);
      wait = Math.min(2 * wait, RETRY_MOST);
    }
  }

  private async follow(opened: () => void): Promise<void> {
    const { signal } = this.stopped;
    // Once the request is out, what the engine does is queued in its answer.
    const events = this.engine.events(() => {
      opened();
      this.told = undefined;
      this.logger.info('docker: the engine is there');
      void this.lookAtAll().then(looked, (error: unknown) => {
        looked();
        if (!signal.aborted) this.logger.warn(`docker: ${(error as Error).message}`);
      });
    }, signal);
    let looked: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (looked = resolve));
    for await (const { action, id } of events) {
      await first;
      if (action === 'start') await this.look(id);
      else await this.ports.release(id);
    }
  }

  /** Once for each reason, as long as it lasts. */
  private tell(why: string): void {
    if (this.stopped.signal.aborted || why === this.told) return;
    this.told = why;
    this.logger.warn(`docker: the engine is away: ${why}`);
  }
}
