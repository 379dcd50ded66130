/** SNTP on the gateway: guests set their clocks by the host's. */
import type { Ipv4 } from '../core/index.js';
import { SNTP_PORT, answerSntp } from '../sntp/index.js';
import type { Stack } from '../stack/index.js';
import type { Services } from './services.js';

export function answerTime(services: Services, stack: Stack, gatewayIp: Ipv4): void {
  services.addUdp(gatewayIp, SNTP_PORT, 'ntp', (datagram) => {
    const { neighbour, bytes, offset, length } = datagram;
    if (neighbour === undefined) return;
    const answer = answerSntp(bytes, offset, length, stack.deps.scheduler.wall());
    if (answer === undefined) return;
    stack.packets.udp(
      neighbour,
      datagram.destination,
      SNTP_PORT,
      datagram.sourcePort,
      answer,
      0,
      answer.length,
    );
  });
}
