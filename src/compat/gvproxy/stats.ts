/** The counters of /stats under gvproxy's names; what netproxy does not count is not there. */
import type { Network } from '../../index.js';

/** Bytes sent are those to guests. */
export function gvproxyStats(network: Network) {
  const { stack, tcp, udp, ping, outbound, reassembly, memory, guests } = network.stats();
  const sum = (name: string): number =>
    Object.values(guests).reduce((total, counters) => total + (counters[name] ?? 0), 0);
  return {
    BytesSent: sum('bytesOut'),
    BytesReceived: sum('bytesIn'),
    UnknownProtocolRcvdPackets: stack.unknownProtocol,
    MalformedRcvdPackets: stack.shortFrame + stack.ipTruncated + stack.ipHeaderLength + stack.ipTotalLength,
    IP: {
      InvalidDestinationAddressesReceived: stack.martianDestination + stack.notForUs,
      InvalidSourceAddressesReceived: stack.martianSource + stack.spoofedSource,
      MalformedPacketsReceived: stack.ipVersion + stack.ipChecksum + stack.ipOptions,
      MalformedFragmentsReceived: reassembly.malformed,
    },
    ARP: { MalformedPacketsReceived: stack.badArp, RateLimited: stack.arpLimited },
    ICMP: {
      EchoRequests: ping.requests,
      EchoReplies: ping.replies,
      InvalidChecksum: stack.icmpChecksum,
      RateLimited: stack.icmpRateLimited,
    },
    TCP: {
      PassiveConnectionOpenings: outbound.opened,
      FailedConnectionAttempts: outbound.refused + outbound.unreachable + outbound.timedOut,
      CurrentConnected: memory.tcpFlows,
      EstablishedResets: outbound.resets,
      EstablishedClosed: outbound.closed,
      ListenOverflowSynDrop: stack.synBacklogFull,
      ValidSegmentsReceived: tcp.segmentsIn,
      InvalidSegmentsReceived: stack.tcpHeader + stack.tcpChecksum,
      SegmentsSent: tcp.segmentsOut,
      ResetsSent: tcp.rstOut,
      ResetsReceived: tcp.rstIn,
      Retransmits: tcp.retransmits,
      FastRetransmit: tcp.fastRetransmits,
      Timeouts: tcp.timeouts,
    },
    UDP: {
      PacketsReceived: udp.toHost,
      PacketsSent: udp.toGuest,
      PacketSendErrors: udp.errors,
      MalformedPacketsReceived: stack.udpTruncated + stack.udpLength + stack.udpChecksum,
    },
  };
}
