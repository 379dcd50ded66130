/** Configurations laid over each other, and what a network takes of the result. */
import type { NetworkConfig } from '../network/index.js';
import type { Config } from './schema.js';

/**
 * Lays `over` (the flags) over `under` (the file). Single values of `over` win; sections are merged key by key. Links,
 * published ports and forwards by ssh add up. Rules of `over` come first, so that they decide first. Other lists are replaced.
 */
export function mergeConfig(under: Config, over: Config): Config {
  const merged = {
    ...under,
    ...withoutUndefined(over),
    ...section('dhcp', under, over),
    ...section('dns', under, over),
    ...section('httpProxy', under, over),
    ...section('policy', under, over),
    ...section('docker', under, over),
    ...section('limits', under, over),
    ...section('switch', under, over),
    ...section('log', under, over),
  };
  const links = [...(under.links ?? []), ...(over.links ?? [])];
  const publish = [...(under.publish ?? []), ...(over.publish ?? [])];
  const sshForwards = [...(under.sshForwards ?? []), ...(over.sshForwards ?? [])];
  const rules = [...(over.policy?.rules ?? []), ...(under.policy?.rules ?? [])];
  return {
    ...merged,
    ...(links.length === 0 ? {} : { links }),
    ...(publish.length === 0 ? {} : { publish }),
    ...(sshForwards.length === 0 ? {} : { sshForwards }),
    ...(rules.length === 0 ? {} : { policy: { ...merged.policy, rules } }),
  };
}

function section<K extends 'dhcp' | 'dns' | 'docker' | 'httpProxy' | 'policy' | 'limits' | 'switch' | 'log'>(
  key: K,
  under: Config,
  over: Config,
): Partial<Pick<Config, K>> {
  const [lower, upper] = [under[key], over[key]];
  if (lower === undefined && upper === undefined) return {};
  return { [key]: { ...lower, ...withoutUndefined(upper ?? {}) } } as Partial<Pick<Config, K>>;
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}

/** The part of a configuration that a network is made from. */
export function networkConfig(config: Config): NetworkConfig {
  const { guestIp, guestMac } = config;
  // The first guest's address is its own only where a MAC says who it is; otherwise it is simply handed out first.
  const listed = config.dhcp?.statics ?? [];
  const known = listed.some(
    ({ ip, mac }) => ip === guestIp && mac?.toLowerCase() === guestMac?.toLowerCase(),
  );
  const named = guestIp !== undefined && guestMac !== undefined && !known;
  const statics = [...(named ? [{ ip: guestIp, mac: guestMac }] : []), ...listed];
  return {
    name: config.name,
    subnet: config.subnet,
    gatewayIp: config.gatewayIp,
    gatewayMac: config.gatewayMac,
    guestIp,
    hostAlias: aliasOf(config.hostAlias),
    mtu: config.mtu,
    stateFile: config.stateFile,
    udpNat: config.udpNat,
    dhcp: { ...config.dhcp, ...(statics.length === 0 ? {} : { statics }) },
    dns: config.dns,
    // The proxy that this host uses is for its guests, too.
    httpProxy: { environment: true, system: true, ...withoutUndefined(config.httpProxy ?? {}) },
    policy: config.policy,
    publish: config.publish,
    bindHelper: config.bindHelper,
    limits: config.limits,
    switch: config.switch,
  };
}

function aliasOf(value: Config['hostAlias']): string | false | undefined {
  if (value === undefined || value === true || value === 'on') return undefined;
  return value === 'off' ? false : value;
}
