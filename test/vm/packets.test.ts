/** QEMU guests on a datagram socket: `-netdev dgram` against `netproxy serve --vfkit`, two of them on one path. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../netns/bytes.mjs';
import { Lab } from '../netns/lab.js';
import type { Netproxy } from '../netns/netproxy.js';
import { count } from '../support/counts.js';
import {
  requireAddon,
  requireBuild,
  requireGuest,
  requireNamespaces,
  requirements,
} from '../support/requirements.js';
import { Guest, guestImage } from './guest.js';

const ready = requirements(
  'QEMU guests on datagrams',
  requireGuest(),
  requireNamespaces(),
  requireBuild(),
  requireAddon(),
);

const GATEWAY = '192.168.127.1';
const BYTES = count(5_000_000, 50_000_000);
/** TCG is slow, and this machine may be busy. */
const LONG = count(90_000, 300_000);

describe.runIf(ready)('QEMU guests on --vfkit', () => {
  let lab: Lab;
  let netproxy: Netproxy;
  const guests: Guest[] = [];

  const boot = (n: number): Promise<Guest> => {
    const ends = `local.type=unix,local.path=${lab.path(`vm${n}.sock`)},remote.type=unix,remote.path=${lab.path('np.sock')}`;
    return Guest.boot({ netdev: `dgram,id=n0,${ends}`, netns: lab.guest, mac: `52:54:00:00:00:0${n}` });
  };

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.serve({ web: { kind: 'http', address: lab.address(1), port: 80 } });
    await guestImage();
    netproxy = await lab.startNetproxy(['serve', '--vfkit', `unix:${lab.path('np.sock')}`]);
    guests.push(...(await Promise.all([boot(1), boot(2)])));
  }, 300_000);

  afterAll(async () => {
    for (const guest of guests) await guest.kill();
    await lab?.destroy();
  }, 30_000);

  it('each get a lease, and reach the gateway and each other', async () => {
    // Nobody knows a guest before its first datagram: who asks first is the first.
    expect(await guests[0]!.dhcp()).toMatchObject({ ip: '192.168.127.2', router: GATEWAY, mtu: '1500' });
    expect(await guests[1]!.dhcp()).toMatchObject({ ip: '192.168.127.3', router: GATEWAY });
    for (const guest of guests) await guest.check(`ping -c 3 -i 0.3 -W 5 ${GATEWAY}`);
    await guests[0]!.check('ping -c 3 -i 0.3 -W 5 192.168.127.3');
  });

  it(
    `move ${BYTES / 1e6} MB up and down at the same time with the right digests`,
    async () => {
      const url = `http://${lab.address(1)}/`;
      await Promise.all(
        guests.map(async (guest) => {
          await guest.check(`curl -sS -o /tmp/file '${url}${BYTES}?offset=7'`, LONG);
          expect(await guest.check('sha256sum < /tmp/file', LONG)).toBe(`${digestOf(BYTES, 7)}  -`);
          const sent = await guest.check(`curl -sS -T /tmp/file ${url}up`, LONG);
          expect(sent).toBe(`${BYTES} ${digestOf(BYTES, 7)}`);
        }),
      );
    },
    4 * LONG,
  );

  it('may be killed and boot again at their path, while the other one goes on', async () => {
    await guests[0]!.kill();
    guests[0] = await boot(1);
    expect(await guests[0].dhcp()).toMatchObject({ ip: '192.168.127.2' });
    await guests[0].check(`ping -c 2 -W 5 ${GATEWAY}`);
    await guests[1]!.check(`ping -c 2 -W 5 ${GATEWAY}`);
    expect(netproxy.proc.ended).toBeUndefined();
  }, 120_000);

  it('are no reason to hang: SIGTERM ends netproxy, exit code 0', async () => {
    expect(await netproxy.stop()).toMatchObject({ code: 0, signal: null });
  });
});
