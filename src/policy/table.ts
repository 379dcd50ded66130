/** The rules of a network, or of one guest, as they are now: they come and go while flows run. */
import { NetproxyError } from '../core/index.js';
import type { PolicyRule } from './rules.js';

/** Rules of one table. */
export const MAX_RULES = 10_000;

export type DefaultAction = 'allow' | 'deny' | 'ask';

/** A rule in its place. */
export interface TableEntry {
  /** Unique in its network, never used again. */
  readonly id: number;
  readonly rule: PolicyRule;
  /** How often it decided. */
  hits: number;
}

/** What the tables of one network share. */
export class TableClock {
  /** Changes with every change of any table. */
  generation = 1;
  private lastId = 0;
  private readonly listeners: (() => void)[] = [];

  nextId(): number {
    return ++this.lastId;
  }

  changed(): void {
    this.generation++;
    for (const listener of this.listeners) listener();
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }
}

export class RuleTable {
  private list: readonly TableEntry[] = [];
  private readonly clock: TableClock;

  constructor(rules: readonly PolicyRule[], clock: TableClock) {
    this.clock = clock;
    this.list = this.entries(rules);
  }

  /** In the order in which they are tried. */
  get all(): readonly TableEntry[] {
    return this.list;
  }

  find(id: number): TableEntry | undefined {
    return this.list.find((entry) => entry.id === id);
  }

  /** Puts a rule before another one, else behind all. Throws ERR_NETPROXY_CONFIG, ERR_NETPROXY_STATE. */
  add(rule: PolicyRule, before?: number): TableEntry {
    const at = before === undefined ? this.list.length : this.list.findIndex(({ id }) => id === before);
    if (at < 0) throw new NetproxyError('ERR_NETPROXY_CONFIG', `there is no rule ${before}`);
    if (this.list.length >= MAX_RULES)
      throw new NetproxyError('ERR_NETPROXY_STATE', `there are ${MAX_RULES} rules; that is the limit`);
    const entry = { id: this.clock.nextId(), rule, hits: 0 };
    this.list = [...this.list.slice(0, at), entry, ...this.list.slice(at)];
    this.clock.changed();
    return entry;
  }

  /** The rule that went; undefined when there was none. */
  remove(id: number): TableEntry | undefined {
    const entry = this.find(id);
    if (entry === undefined) return undefined;
    this.list = this.list.filter((one) => one !== entry);
    this.clock.changed();
    return entry;
  }

  /** Takes these rules for those that were. One that was there already, by its text, keeps its id and its count. */
  replace(rules: readonly PolicyRule[]): void {
    this.list = this.entries(rules);
    this.clock.changed();
  }

  private entries(rules: readonly PolicyRule[]): TableEntry[] {
    if (rules.length > MAX_RULES)
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `there may be ${MAX_RULES} rules, not ${rules.length}`);
    const known = new Map<string, TableEntry>();
    for (const entry of this.list) if (!known.has(entry.rule.text)) known.set(entry.rule.text, entry);
    return rules.map((rule) => {
      const entry = known.get(rule.text);
      known.delete(rule.text);
      return entry ?? { id: this.clock.nextId(), rule, hits: 0 };
    });
  }
}
