/** What most scenario tests begin with: a kernel guest on a TAP of the built netproxy, with its lease. */
import {
  requireAddon,
  requireBuild,
  requireNamespaces,
  requireTool,
  requirements,
} from '../support/requirements.js';
import { Lab, type LabOptions } from './lab.js';
import type { Netproxy, NetproxyOptions } from './netproxy.js';

/** The addresses of netproxy's default network. */
export const GATEWAY = '192.168.127.1';
export const GUEST = '192.168.127.2';
export const HOST_ALIAS = '192.168.127.254';

/** True when namespaces, the build, the addon and the tools are there; otherwise prints what is missing. */
export function scenarioReady(what: string, ...tools: readonly string[]): boolean {
  return requirements(
    what,
    requireNamespaces(),
    requireBuild(),
    requireAddon(),
    requireTool('udhcpc'),
    ...tools.map(requireTool),
  );
}

export interface KernelGuest {
  readonly lab: Lab;
  readonly netproxy: Netproxy;
  /** What the DHCP server said (Lab.dhcp). */
  readonly lease: Readonly<Record<string, string>>;
}

/** Starts a lab and `netproxy serve` with a TAP in its guest namespace, and gets the guest a lease. */
export async function kernelGuest(
  args: readonly string[] = [],
  options: NetproxyOptions & { readonly lab?: LabOptions } = {},
): Promise<KernelGuest> {
  const lab = await Lab.create(options.lab);
  try {
    const netproxy = await serveTap(lab, args, options);
    return { lab, netproxy, lease: await lab.dhcp() };
  } catch (error) {
    await lab.destroy();
    throw error;
  }
}

/** `netproxy serve` with the TAP `tap0` in the lab's guest namespace. */
export function serveTap(
  lab: Lab,
  args: readonly string[] = [],
  options: NetproxyOptions = {},
): Promise<Netproxy> {
  return lab.startNetproxy(['serve', '--netns', lab.guest, '--tap', 'tap0', ...args], options);
}
