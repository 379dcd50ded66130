/** Why a namespace with a TAP could not be made, and which setting is in the way. */
import type { HostFacts } from './host-facts.js';

interface Setting {
  readonly name: string;
  readonly file: string;
  readonly blocks: (value: string) => boolean;
  readonly remedy: string;
}

/** The settings that restrict user namespaces, of Debian, Ubuntu and the kernel itself. */
const SETTINGS: readonly Setting[] = [
  {
    name: 'kernel.unprivileged_userns_clone',
    file: '/proc/sys/kernel/unprivileged_userns_clone',
    blocks: (value) => value === '0',
    remedy: 'As root: sysctl -w kernel.unprivileged_userns_clone=1',
  },
  {
    name: 'kernel.apparmor_restrict_unprivileged_userns',
    file: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    blocks: (value) => value !== '0',
    remedy:
      'As root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give node an AppArmor profile with "userns,"',
  },
  {
    name: 'user.max_user_namespaces',
    file: '/proc/sys/user/max_user_namespaces',
    blocks: (value) => value === '0',
    remedy: 'As root: sysctl -w user.max_user_namespaces=15000',
  },
];

export interface Trouble {
  /** What is in the way, in words. */
  readonly why: string;
  readonly remedy: string;
}

/** The settings of this host that forbid user namespaces. */
export function blockingSettings(
  facts: HostFacts,
): { readonly name: string; readonly value: string; readonly remedy: string }[] {
  return SETTINGS.flatMap(({ name, file, blocks, remedy }) => {
    const value = facts.read(file);
    return value !== undefined && blocks(value) ? [{ name, value, remedy }] : [];
  });
}

/** Explains a failed step of making the namespace. `errno` is its name. */
export function explainTrouble(step: string, errno: string, facts: HostFacts): Trouble {
  const userSteps = ['unshare user', 'deny setgroups', 'write uid_map', 'write gid_map'];
  const [setting] = facts.isRoot ? [] : blockingSettings(facts);
  const refused = errno === 'EPERM' || errno === 'EACCES' || errno === 'ENOSPC';
  if (setting !== undefined && refused) {
    return {
      why: `user namespaces are restricted: ${setting.name} is ${setting.value}`,
      remedy: setting.remedy,
    };
  }
  if (userSteps.includes(step) && refused) {
    return {
      why: `${step} failed (${errno}): something else than a sysctl forbids user namespaces, such as a container's seccomp profile`,
      remedy:
        'Run netproxy as root, or let the container make user namespaces (docker run --security-opt seccomp=unconfined).',
    };
  }
  if (step.includes('tun') || step.toLowerCase().includes('tap')) return tunTrouble(step, errno);
  if (refused) {
    return {
      why: `${step} failed (${errno})`,
      remedy: 'Give the container CAP_SYS_ADMIN and CAP_NET_ADMIN, or run netproxy outside of it.',
    };
  }
  return { why: `${step} failed (${errno})`, remedy: 'netproxy doctor tells what this host can do.' };
}

function tunTrouble(step: string, errno: string): Trouble {
  const why = `${step} failed (${errno})`;
  if (errno === 'ENOENT' || errno === 'ENODEV' || errno === 'ENXIO') {
    return {
      why: `${why}: the kernel's tun driver is missing`,
      remedy: 'As root: modprobe tun; in a container: --device /dev/net/tun',
    };
  }
  return {
    why,
    remedy:
      'Let this user open /dev/net/tun: as root, chmod 666 /dev/net/tun; in a container: --device /dev/net/tun',
  };
}
