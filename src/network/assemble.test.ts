import { describe, expect, it } from 'vitest';
import { DEFAULT_OUTBOUND_LIMITS, DEFAULT_UDP_LIMITS } from '../forwarder/index.js';
import { outboundDefaults, udpDefaults } from './assemble.js';

describe('limits of a guest', () => {
  it('leave the others descriptors', () => {
    expect(outboundDefaults(1024)).toMatchObject({ dialsPerGuest: 256, flowsPerGuest: 512 });
    expect(udpDefaults(1024)).toMatchObject({ perGuest: 128, total: 256 });
  });

  it('are what they are where descriptors are many, or not counted', () => {
    for (const descriptors of [1_000_000, undefined]) {
      expect(outboundDefaults(descriptors)).toEqual(DEFAULT_OUTBOUND_LIMITS);
      expect(udpDefaults(descriptors)).toEqual(DEFAULT_UDP_LIMITS);
    }
  });
});
