/** The checks of `netproxy doctor`, one function each. */
import { execFileSync } from 'node:child_process';
import { release } from 'node:os';
import { type Capabilities, errnoName, loadNative } from '../native/index.js';
import { type HostFacts, hostFacts } from './host-facts.js';
import { blockingSettings, explainTrouble } from './namespace-trouble.js';

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
  /** How to get it, where it is missing. */
  readonly remedy?: string;
}

export interface Examined {
  readonly facts: HostFacts;
  /** What the addon found; undefined without it. */
  readonly capabilities: Capabilities | undefined;
  /** Why there is no addon. */
  readonly reason: string | undefined;
  /** First line that a program prints with some arguments; undefined when it fails. */
  readonly firstLine: (program: string, ...args: string[]) => string | undefined;
}

/** Looks at this host. */
export function examine(host: Examined = thisHost()): Check[] {
  const linux = host.facts.platform === 'linux';
  const checks = [node(host), addon(host)];
  if (linux) checks.push(tap(host), namespaces(host), ping(host), vsock(host), kvm(host));
  checks.push(qemu(host));
  if (linux) checks.push(kernel(host));
  checks.push(cargo(host));
  return checks;
}

function thisHost(): Examined {
  const { addon: native, reason } = loadNative();
  return {
    facts: hostFacts,
    capabilities: native?.capabilities(),
    reason,
    firstLine: (program, ...args) => {
      try {
        const text = execFileSync(program, args, {
          encoding: 'utf8',
          timeout: 10_000,
          stdio: ['ignore', 'pipe', 'ignore'],
        });
        return text.split('\n')[0];
      } catch {
        return undefined;
      }
    },
  };
}

function node(_: Examined): Check {
  return { name: 'Node', ok: true, detail: process.versions.node };
}

function addon({ capabilities, reason }: Examined): Check {
  if (capabilities !== undefined)
    return { name: 'native addon', ok: true, detail: `version ${capabilities.version}` };
  return {
    name: 'native addon',
    ok: false,
    detail: `${reason ?? 'unknown'}; without it: no TAP, no vsock, no namespaces, no ICMP errors for UDP, and less speed`,
    remedy: 'npm run build:native (it needs cargo)',
  };
}

function tap({ facts, capabilities }: Examined): Check {
  const name = 'TAP';
  if (!facts.exists('/dev/net/tun')) {
    return {
      name,
      ok: false,
      detail: 'there is no /dev/net/tun',
      remedy: 'As root: modprobe tun; in a container: --device /dev/net/tun',
    };
  }
  const opens = capabilities === undefined ? facts.may('/dev/net/tun', 'both') : capabilities.tun === 0;
  if (opens) return { name, ok: true, detail: '/dev/net/tun opens' };
  const why = capabilities === undefined ? '' : ` (${errnoName(capabilities.tun)})`;
  return {
    name,
    ok: false,
    detail: `/dev/net/tun does not open${why}`,
    remedy: 'As root: chmod 666 /dev/net/tun',
  };
}

function namespaces({ facts, capabilities }: Examined): Check {
  const name = 'user namespaces';
  if (capabilities === undefined) {
    const [setting] = blockingSettings(facts);
    if (setting !== undefined)
      return { name, ok: false, detail: `${setting.name} is ${setting.value}`, remedy: setting.remedy };
    return { name, ok: true, detail: 'no setting forbids them (not tried: that needs the addon)' };
  }
  if (capabilities.userns === 0) return { name, ok: true, detail: 'netproxy run works without root' };
  const { why, remedy } = explainTrouble(capabilities.usernsStep, errnoName(capabilities.userns), {
    ...facts,
    isRoot: false,
  });
  return { name, ok: false, detail: facts.isRoot ? `${why}; as root they are not needed` : why, remedy };
}

function ping({ facts, capabilities }: Examined): Check {
  const name = 'ping sockets';
  const range = facts.read('/proc/sys/net/ipv4/ping_group_range')?.replace(/\s+/, ' ') ?? 'unknown';
  const [low = 1, high = 0] = range.split(' ').map(Number);
  const group = process.getegid?.() ?? 0;
  const ok = capabilities === undefined ? group >= low && group <= high : capabilities.pingSockets === 0;
  const detail = `net.ipv4.ping_group_range is ${range}`;
  if (ok) return { name, ok: true, detail };
  return {
    name,
    ok: false,
    detail: `${detail}: guests can ping the gateway and the host alias only`,
    remedy: 'As root: sysctl -w net.ipv4.ping_group_range="0 2147483647"',
  };
}

/** Opening a vsock could reach the machine around this one, so only the devices are looked at. */
function vsock({ facts, capabilities }: Examined): Check {
  const name = 'vsock';
  const devices = ['/dev/vsock', '/dev/vhost-vsock'].filter((file) => facts.exists(file));
  if (capabilities === undefined)
    return { name, ok: false, detail: 'needs the addon', remedy: 'npm run build:native' };
  if (devices.length > 0)
    return { name, ok: true, detail: `compiled in, not tried; ${devices.join(' and ')} there` };
  return {
    name,
    ok: false,
    detail: 'neither /dev/vsock nor /dev/vhost-vsock',
    remedy: 'As root: modprobe vhost_vsock (host) or vsock (guest)',
  };
}

function kvm({ facts }: Examined): Check {
  const name = 'KVM';
  if (!facts.exists('/dev/kvm')) {
    return {
      name,
      ok: false,
      detail: 'there is no /dev/kvm: QEMU emulates, slowly',
      remedy: 'Load kvm_intel or kvm_amd, or allow nested virtualization',
    };
  }
  if (facts.may('/dev/kvm', 'both')) return { name, ok: true, detail: '/dev/kvm may be used' };
  return {
    name,
    ok: false,
    detail: '/dev/kvm may not be used by this user',
    remedy: 'As root: usermod -aG kvm USER, then log in again',
  };
}

function qemu({ facts, firstLine }: Examined): Check {
  const program = `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`;
  const found = facts.which(program);
  const version = found === undefined ? undefined : firstLine(found, '--version');
  if (version !== undefined) return { name: 'QEMU', ok: true, detail: version };
  return {
    name: 'QEMU',
    ok: false,
    detail: `there is no ${program}`,
    remedy: 'Debian: apt-get install qemu-system-x86; Fedora: dnf install qemu-kvm',
  };
}

/** A guest that boots this host's own kernel needs to read it. */
function kernel({ facts }: Examined): Check {
  const name = 'kernel image';
  const candidates = [`/boot/vmlinuz-${release()}`, `/lib/modules/${release()}/vmlinuz`, '/boot/vmlinuz'];
  const file = candidates.find((candidate) => facts.exists(candidate));
  if (file === undefined) {
    return {
      name,
      ok: false,
      detail: `none in /boot for ${release()}`,
      remedy: 'netproxy demo --vm gets one of its own in the source checkout, or takes --kernel and --initrd',
    };
  }
  if (facts.may(file, 'read')) return { name, ok: true, detail: file };
  return { name, ok: false, detail: `${file} may not be read`, remedy: `As root: chmod +r ${file}` };
}

function cargo({ facts, firstLine }: Examined): Check {
  const home = process.env['HOME'];
  const own = home === undefined ? undefined : `${home}/.cargo/bin/cargo`;
  const found = facts.which('cargo') ?? (own !== undefined && facts.exists(own) ? own : undefined);
  const version = found === undefined ? undefined : firstLine(found, '--version');
  if (version !== undefined) return { name: 'cargo', ok: true, detail: version };
  return {
    name: 'cargo',
    ok: false,
    detail: 'not found; only needed to build the addon',
    remedy: 'https://rustup.rs, or apt-get install cargo',
  };
}
