/**
 * Zones and rules that were set while a network ran, in the state file.
 *
 * What the configuration says is never written down: only what differs from it, together with a fingerprint of what the configuration
 * said there. After a restart it holds again, unless the configuration says something else by now: then that is what somebody
 * decided last, and it wins.
 */
import { createHash } from 'node:crypto';
import { type Logger, NetproxyError } from '../core/index.js';
import { type ZoneConfig, type Zones, normalName } from '../dns/index.js';
import type { StateStore } from '../host/index.js';
import { type Audit, type DefaultAction, type Policy, readRule } from '../policy/index.js';
import type { PolicyOptions } from './types.js';

const ZONE = 'zone';
const POLICY = 'policy';
const LIVE = 'live';

function fingerprint(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value ?? null))
    .digest('hex')
    .slice(0, 16);
}

/** A record as another process wrote it; undefined when it has another shape. */
function recordOf(value: unknown): (Record<string, unknown> & { readonly over: string }) | undefined {
  if (typeof value !== 'object' || value === null || !('over' in value)) return undefined;
  return typeof value.over === 'string' ? { ...value, over: value.over } : undefined;
}

export class ZoneKeeper {
  private readonly zones: Zones;
  private readonly configured: ReadonlyMap<string, ZoneConfig>;
  private store: StateStore | undefined;

  constructor(zones: Zones, configured: readonly ZoneConfig[]) {
    this.zones = zones;
    this.configured = new Map(configured.map((zone) => [normalName(zone.name) ?? '', zone]));
  }

  /** Takes back what the file holds. */
  open(store: StateStore, logger: Logger): void {
    let restored = 0;
    for (const [name, value] of [...store.entries(ZONE)]) {
      const record = recordOf(value);
      const known = this.configured.get(name);
      if (record?.over !== fingerprint(known)) {
        if (record !== undefined)
          logger.warn(`the zone ${name} was changed in the configuration since: that holds`);
        store.delete(ZONE, name);
        continue;
      }
      try {
        if (record['zone'] === null) this.zones.delete(name);
        else this.zones.put(record['zone'] as ZoneConfig);
        restored++;
      } catch (error) {
        logger.warn(`the zone ${name} of the state file is left out: ${textOf(error)}`);
        store.delete(ZONE, name);
      }
    }
    if (restored > 0) logger.info(`${restored} zones taken back from the state file`);
    this.store = store;
  }

  /** A zone was put there, or removed. */
  note(name: string): void {
    const { store } = this;
    const key = normalName(name);
    if (store === undefined || key === undefined) return;
    const known = this.configured.get(key);
    const zone = this.zones.get(key);
    if (fingerprint(zone) === fingerprint(known)) store.delete(ZONE, key);
    else store.put(ZONE, key, { over: fingerprint(known), zone: zone ?? null });
    store.commit(() => undefined);
  }
}

/** The rules of all guests, in their order, the default action, and what the audit log tells. */
interface LivePolicy {
  readonly default: DefaultAction;
  readonly log: 'denied' | 'all';
  readonly rules: readonly string[];
}

export class PolicyKeeper {
  private readonly policy: Policy;
  private readonly audit: Audit;
  private readonly configured: LivePolicy;
  private store: StateStore | undefined;
  private pending = false;
  private readonly defer: (callback: () => void) => void;

  constructor(
    policy: Policy,
    audit: Audit,
    configured: PolicyOptions | undefined,
    defer: (callback: () => void) => void,
  ) {
    this.policy = policy;
    this.audit = audit;
    this.defer = defer;
    const { default: action = 'allow', log = 'denied', rules = [] } = configured ?? {};
    this.configured = { default: action, log, rules: rules.map((rule) => readRule(rule).text) };
    policy.onChange(() => {
      this.note();
    });
  }

  open(store: StateStore, logger: Logger): void {
    const value = new Map(store.entries(POLICY)).get(LIVE);
    const record = recordOf(value);
    if (record !== undefined && record.over !== fingerprint(this.configured))
      logger.warn(
        'the policy was changed in the configuration since: that holds, rules that were set live are left out',
      );
    else if (record !== undefined) this.restore(record, logger);
    this.store = store;
    if (value !== undefined) this.note();
  }

  /** Rules, the default or the log are other ones now; written soon, once for all changes of a moment. */
  note(): void {
    if (this.pending || this.store === undefined) return;
    this.pending = true;
    this.defer(() => {
      this.write();
    });
  }

  /** Puts what was noted into the store. */
  write(): void {
    const { store, policy } = this;
    if (!this.pending || store === undefined) return;
    this.pending = false;
    const live: LivePolicy = {
      default: policy.defaultAction,
      log: this.audit.all ? 'all' : 'denied',
      rules: policy.table.all.map(({ rule }) => rule.text),
    };
    if (fingerprint(live) === fingerprint(this.configured)) store.delete(POLICY, LIVE);
    else store.put(POLICY, LIVE, { over: fingerprint(this.configured), ...live });
    store.commit(() => undefined);
  }

  private restore(record: Record<string, unknown>, logger: Logger): void {
    const { default: action, log, rules } = record;
    try {
      if (!Array.isArray(rules) || (action !== 'allow' && action !== 'deny' && action !== 'ask'))
        throw new NetproxyError('ERR_NETPROXY_STATE', 'it has another form');
      this.policy.table.replace(rules.map((rule) => readRule(String(rule))));
      this.policy.defaultAction = action;
      this.audit.all = log === 'all';
      logger.info(`${rules.length} rules taken back from the state file, default ${action}`);
    } catch (error) {
      logger.warn(`the policy of the state file is left out: ${textOf(error)}`);
    }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
