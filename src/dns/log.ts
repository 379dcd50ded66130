/**
 * What the server answered lately, and to those who watch, what it answers. A fixed number of answers is remembered in places that
 * are used again, so that remembering costs no memory.
 */
import type { DnsEvent, DnsSource, DnsTransport } from './types.js';
import { word } from './message.js';

/** Answers that are remembered. */
export const DNS_LOGGED = 256;

/** One answer, lent for the call where it is told. */
export interface DnsLogEntry {
  /** Counts from 1, never again the same. */
  readonly id: number;
  /** ms since 1970. */
  readonly time: number;
  readonly guest: string;
  readonly name: string;
  readonly type: number;
  readonly source: DnsSource;
  readonly rcode: number;
  /** From the query's coming to the answer's going. */
  readonly millis: number;
  readonly transport: DnsTransport;
  /** Which name server said so. */
  readonly server: string | undefined;
  /** Records in the answer section. */
  readonly answers: number;
}

type Place = { -readonly [K in keyof DnsLogEntry]: DnsLogEntry[K] };

export class DnsLog {
  private readonly places: Place[] = [];
  private readonly watchers = new Set<(entry: DnsLogEntry) => void>();
  private readonly time: () => number;
  private last = 0;

  /** `time`: ms since 1970. */
  constructor(time: () => number) {
    this.time = time;
  }

  /** Remembers an answer to a guest of this name, and tells those who watch. */
  add(event: DnsEvent, guest: string): void {
    const place = this.place();
    place.id = ++this.last;
    place.time = this.time();
    place.guest = guest;
    place.name = event.question?.name ?? '';
    place.type = event.question?.type ?? 0;
    place.source = event.source;
    place.rcode = event.rcode;
    place.millis = event.millis;
    place.transport = event.transport;
    place.server = event.server;
    place.answers = word(event.answer, 6);
    for (const watcher of this.watchers) watcher(place);
  }

  /** The answers that are remembered, the oldest first; lent until the next answer. */
  recent(): readonly DnsLogEntry[] {
    const { places, last } = this;
    return places.length < DNS_LOGGED ? places : places.map((_, i) => places[(last + i) % DNS_LOGGED]!);
  }

  /** Tells every answer from now on, until the returned function is called. */
  watch(watcher: (entry: DnsLogEntry) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private place(): Place {
    if (this.places.length === DNS_LOGGED) return this.places[this.last % DNS_LOGGED]!;
    const place: Place = {
      id: 0,
      time: 0,
      guest: '',
      name: '',
      type: 0,
      source: 'error',
      rcode: 0,
      millis: 0,
      transport: 'udp',
      server: undefined,
      answers: 0,
    };
    this.places.push(place);
    return place;
  }
}
