import { describe, expect, it } from 'vitest';
import { testNetwork } from './index.js';

describe('network', () => {
  it('gives a lease and answers pings', async () => {
    await using lab = await testNetwork();
    expect(lab.guest.lease?.ip).toBe('192.168.127.2');
    const rtt = await lab.run(lab.guest.ping(lab.gateway));
    expect(rtt).toBeLessThan(5);
    lab.host.accept('198.51.100.1:80', (socket) => socket.pipe(socket));
    const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
    socket.end('hello');
    let text = '';
    await lab.run(async () => {
      for await (const chunk of socket) text += String(chunk);
    });
    expect(text).toBe('hello');
  });
});
