/**
 * `netproxy/testing`: what a test of a virtual network needs. Virtual time, links in memory with or without faults, a
 * guest that does what it is told, a host that exists in memory only, and all of it put together by `testNetwork`.
 */
export { decodeFrame, type DecodedFrame, type DecodedSegment } from './decode.js';
export { FakeHost, type FakeClient, type FakeDialOptions } from './fake-host.js';
export { type HostSocket } from './fake-stream.js';
export {
  type FakeDatagram,
  type FakePing,
  type FakeSender,
  type FakeUdpError,
  type HostUdpClient,
} from './fake-udp.js';
export { FrameTap, TAP_LIMIT } from './frame-tap.js';
export { type DhcpClientOptions, type GuestLease } from './guest-dhcp.js';
export { type DnsAnswer, type DnsQueryOptions, type DnsRecord } from './guest-dns.js';
export { GuestError } from './guest-error.js';
export { type PingOptions } from './guest-icmp.js';
export { type GuestSocket } from './guest-socket.js';
export { type ConnectOptions, type GuestListener, type GuestTcpSettings } from './guest-tcp.js';
export { type GuestDatagram, type GuestUdpSocket } from './guest-udp.js';
export { faultyLink, memoryLink, type MemoryLinks } from './memory.js';
export { randomBytes, seededRandom } from './random.js';
export { type GuestAddress, ScriptedGuest, type ScriptedGuestOptions } from './scripted-guest.js';
export { type TestGuestOptions, TestNetwork, type TestNetworkOptions, testNetwork } from './test-network.js';
export { DEFAULT_LIMIT, VirtualClock } from './virtual-clock.js';
export {
  type FaultDeps,
  type Faults,
  type MemoryLink,
  memoryLinkPair,
  parseFaults,
  withFaults,
} from '../link/index.js';
export { nodeScheduler as realScheduler, systemRandom } from '../host/index.js';
export { ACK, FIN, PSH, RST, SYN } from '../tcp/index.js';
export type { Clock, Link, Random, Scheduler } from '../core/index.js';
