/** Pings of guests to the world. */
import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../core/index.js';
import { MAX_PINGS_PER_GUEST, PING_BURST, PING_IDLE } from '../forwarder/index.js';
import { emitIcmp } from '../icmp/index.js';
import { PROTOCOL_ICMP, emitIpv4Packet } from '../ipv4/index.js';
import { ETHERTYPE_IPV4, emitEthernet } from '../ethernet/index.js';
import { type ScriptedGuest, type TestNetwork, testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const ALIAS = '192.168.127.254';

/** A ping with an echo id of the test's choice; nobody waits for its answer. */
function ping(lab: TestNetwork, guest: ScriptedGuest, id: number): void {
  const payload = emitIcmp({ type: 8, code: 0, rest: (id << 16) | 1, body: new Uint8Array(8) });
  const packet = emitIpv4Packet({
    source: parseIpv4(guest.address!)!,
    destination: parseIpv4(SERVER)!,
    protocol: PROTOCOL_ICMP,
    ttl: 64,
    tos: 0,
    id: 1,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    options: new Uint8Array(0),
    payload,
  });
  const { gatewayMac } = lab.network.addresses;
  guest.sendFrame(
    emitEthernet({ destination: gatewayMac, source: guest.mac, etherType: ETHERTYPE_IPV4, payload: packet }),
  );
}

describe('ping to the world', () => {
  it('comes back to the guest that asked, whatever ids others use, one hop less both ways', async () => {
    await using lab = await testNetwork();
    const other = await lab.attach();
    lab.host.answerPing('*', 60);
    const frame = lab.guest.frames.waitFor(({ icmp }) => icmp?.type === 0);
    await lab.run(
      Promise.all([
        lab.guest.ping(SERVER, { ttl: 9, tos: 0x20, dontFragment: true }),
        other.ping(SERVER),
        other.ping('198.51.100.2', { size: 4000 }),
      ]),
    );
    expect((await lab.run(frame)).ipv4).toMatchObject({ ttl: 59, tos: 0x20 });
    expect(lab.host.pings[0]).toMatchObject({ host: SERVER, ttl: 8, tos: 0x20, dontFragment: true });
    expect(lab.network.stats().ping).toMatchObject({ requests: 3, replies: 3, errors: 0 });
  });

  it('brings errors from whoever said them', async () => {
    await using lab = await testNetwork();
    const from = parseIpv4('203.0.113.9')!;
    lab.host.failPing('198.51.100.3', 'EHOSTUNREACH', 0, { type: 11, code: 0, from });
    lab.host.failPing('198.51.100.4', 'EMSGSIZE', 1280, { type: 3, code: 4, from });
    lab.host.failPing('198.51.100.5', 'ENETUNREACH');
    for (const [ip, icmp] of [
      ['198.51.100.3', { type: 11, code: 0, from: '203.0.113.9' }],
      ['198.51.100.4', { type: 3, code: 4, mtu: 1280, from: '203.0.113.9' }],
      ['198.51.100.5', { type: 3, code: 0, from: lab.gateway }],
    ] as const)
      expect(await lab.run(lab.guest.ping(ip).catch((e: unknown) => e))).toMatchObject({ icmp });
  });

  it('is not possible where the host has no ping sockets; gateway and alias answer', async () => {
    await using lab = await testNetwork();
    lab.host.pingsAllowed = false;
    await lab.run(lab.guest.ping(lab.gateway));
    const frame = lab.guest.frames.waitFor(({ icmp }) => icmp?.type === 0);
    await lab.run(lab.guest.ping(ALIAS, { ttl: 1 }));
    expect((await lab.run(frame)).ipv4?.source).toBe(parseIpv4(ALIAS));
    expect(await codeOf(lab.run(lab.guest.ping(SERVER)))).toBe('ETIMEDOUT');
    expect(lab.network.stats().ping.unavailable).toBe(1);
  });

  it('has bounds: sockets of a guest, their idle time, requests a second', async () => {
    await using lab = await testNetwork();
    const other = await lab.attach();
    lab.host.answerPing('*');
    ping(lab, other, 1);
    for (let id = 0; id <= MAX_PINGS_PER_GUEST; id++) ping(lab, lab.guest, id);
    await lab.clock.settle();
    expect(lab.host.counters.openPings).toBe(MAX_PINGS_PER_GUEST + 1);
    expect(lab.network.stats().ping.evicted).toBe(1);
    await lab.clock.advance(PING_IDLE + 1000);
    expect(lab.host.counters.openPings).toBe(0);
    expect(lab.network.stats().ping.expired).toBe(MAX_PINGS_PER_GUEST + 1);
    for (let n = 0; n <= PING_BURST; n++) ping(lab, lab.guest, 7);
    ping(lab, other, 1);
    await lab.clock.settle();
    expect(lab.network.stats().ping).toMatchObject({ rateLimited: 1 });
    lab.guest.close();
    await lab.clock.settle();
    expect(lab.host.counters.openPings).toBe(1);
  });
});
