/**
 * AF_VSOCK, real at both ends: netproxy runs inside a QEMU guest, and a client in a namespace of that guest reaches it
 * over CID 1 (vsock_loopback) and puts its frames on a TAP. No vsock is opened outside the guest.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../netns/bytes.mjs';
import { count } from '../support/counts.js';
import { requireAddon, requireBuild, requireGuest, requirements } from '../support/requirements.js';
import { Guest, type GuestJob, guestImage } from './guest.js';

const ready = requirements('vsock in a QEMU guest', requireGuest(), requireBuild(), requireAddon());

const PORT = 1024;
/** Bytes that each kind of client moves up and down. */
const BYTES = { connect: count(10_000_000, 100_000_000), vpnkit: count(2_000_000, 100_000_000) };
const LONG = count(90_000, 300_000);
const TESTS = '/opt/netproxy/test/netns';

describe.runIf(ready)('netproxy serve --vsock', () => {
  let machine: Guest;
  let serve: GuestJob;
  const shims: GuestJob[] = [];

  beforeAll(async () => {
    await guestImage(true);
    machine = await Guest.boot({ withNetproxy: true, modules: ['tun', 'vsock_loopback'] });
    // A host side as in the lab: addresses on the loopback, nothing else.
    await machine.check('ip addr add 198.18.0.1/32 dev lo; mkdir -p /etc/netns/client; ip netns add client');
    await machine.check('ip -n client link set lo up; : > /etc/netns/client/resolv.conf');
    const web = JSON.stringify({ web: { kind: 'http', address: '198.18.0.1', port: 80 } });
    machine.start(`exec node ${TESTS}/peer.mjs '${web}' --stay >/tmp/peer 2>&1`);
    await waitFor('grep -q ready /tmp/peer');
    serve = machine.start(
      `exec netproxy serve --vsock ${PORT} --pid-file /tmp/pid --ready-fd 5 5>/tmp/ready >/tmp/netproxy 2>&1`,
    );
    await waitFor('grep -q true /tmp/ready');
  }, 300_000);

  afterEach(async () => {
    for (const shim of shims.splice(0)) {
      shim.kill();
      await shim.done;
    }
  });

  afterAll(async () => {
    await machine?.kill();
  }, 30_000);

  /** Until the guest's script succeeds. */
  async function waitFor(script: string): Promise<void> {
    await machine.check(
      `for n in $(seq 300); do ${script} && exit 0; sleep 0.2; done; tail /tmp/*; exit 1`,
      90_000,
    );
  }

  const inside = (script: string, timeoutMs = 60_000): Promise<string> =>
    machine.check(`ip netns exec client bash -c ${JSON.stringify(script)}`, timeoutMs);

  /** A client of netproxy over CID 1, its TAP in the namespace `client`. */
  async function attach(framing: 'connect' | 'vpnkit'): Promise<GuestJob> {
    const stream = { vsock: [1, PORT] };
    const request = JSON.stringify({ tap: 'tap0', netns: '/run/netns/client', framing, stream });
    await machine.check('rm -f /tmp/shim');
    const job = machine.start(`exec node ${TESTS}/shim.mjs '${request}' >/tmp/shim 2>&1`);
    shims.push(job);
    await waitFor('grep -q attached /tmp/shim');
    return job;
  }

  async function expectNetwork(ip: string): Promise<void> {
    const udhcpc = 'udhcpc -i tap0 -n -q -t 5 -T 2 -O mtu >/tmp/udhcpc 2>&1 || { cat /tmp/udhcpc; exit 1; }';
    await inside(`ip link set tap0 up; ${udhcpc}`);
    expect(await inside('ip -4 -o addr show tap0')).toContain(`${ip}/24`);
    await inside('ping -c 2 -W 5 192.168.127.1');
    expect(await inside('dig +short @192.168.127.1 host.docker.internal')).toBe('192.168.127.254');
    expect(await inside('dig +tcp +short @192.168.127.1 gateway.containers.internal')).toBe('192.168.127.1');
  }

  for (const framing of ['connect', 'vpnkit'] as const) {
    it(
      `serves a client that speaks ${framing}: lease, DNS, ${BYTES[framing] / 1e6} MB both ways`,
      async () => {
        const bytes = BYTES[framing];
        await attach(framing);
        const mac = /"mac":"([^"]+)"/.exec(await machine.check('cat /tmp/shim'))?.[1];
        if (mac !== undefined) await inside(`ip link set tap0 address ${mac}`);
        else await inside('ip link set tap0 address 02:00:00:00:00:01');
        // The one is known by its MAC address, the other by its UUID.
        await expectNetwork(framing === 'connect' ? '192.168.127.2' : '192.168.127.3');
        await inside(`curl -sS -o /tmp/file 'http://198.18.0.1/${bytes}?offset=3'`, LONG);
        expect(await inside('sha256sum < /tmp/file', LONG)).toBe(`${digestOf(bytes, 3)}  -`);
        expect(await inside('curl -sS -T /tmp/file http://198.18.0.1/up', LONG)).toBe(
          `${bytes} ${digestOf(bytes, 3)}`,
        );
      },
      4 * LONG,
    );
  }

  it('shuts the door to what is neither, HTTP with an answer', async () => {
    const ask = (text: string) =>
      machine.check(
        `printf '${text}' | socat -t 5 -T 5 - VSOCK-CONNECT:1:${PORT} | head -c 500 | tr -cd ' -~'`,
        30_000,
      );
    expect(await ask('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')).toMatch(/^HTTP\/1\.1 404 /);
    expect(await ask('nonsense\\n')).not.toContain('200 OK');
  });

  it('ends by SIGTERM with a client attached, exit code 0', async () => {
    const shim = await attach('connect');
    await machine.check('kill -TERM $(cat /tmp/pid)');
    expect((await serve.done).code).toBe(0);
    expect((await shim.done).code).toBe(0);
  });
});
