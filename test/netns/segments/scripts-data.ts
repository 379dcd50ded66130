/** Scripts: ESTABLISHED. */
import { type Script, USUAL } from './play.js';
import { SMALL_PORT } from './sides.js';

const FAR = 5_000_000;

export const ESTABLISHED: readonly Script[] = [
  {
    name: 'text in order',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 100 });
      await p.sends({ seq: 101, ack: 1, len: 1460 }, { seq: 1561, ack: 1, len: 1460 });
      await p.app('write', 3000);
      await p.sends({ seq: 3021, ack: 3001 });
    },
  },
  {
    name: 'text without ACK is dropped',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, len: 100 });
      await p.sends({ seq: 1, ack: 1, len: 50 });
    },
  },
  {
    name: 'RST in its place',
    rule: 'RFC 5961 3.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'RST in the window: challenge ACK',
    rule: 'RFC 5961 3.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 100, rst: true });
      await p.sends({ seq: 100, ack: 1, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'RST outside the window',
    rule: 'RFC 5961 3.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: FAR, rst: true });
      await p.sends({ seq: -5, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'RST in its place with a wrong acknowledgment',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 999, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'SYN in the window, in its place, and behind it: challenge ACK',
    rule: 'RFC 5961 4.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, syn: true });
      await p.sends({ seq: 100, syn: true });
      await p.sends({ seq: 0, syn: true });
      await p.sends({ seq: FAR, syn: true });
      await p.sends({ seq: 1, ack: 1, syn: true });
    },
  },
  {
    name: 'an acknowledgment of what was never sent',
    rule: 'RFC 9293 3.10.7.4, RFC 5961 5.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 500 });
      await p.sends({ seq: 1, ack: 500, len: 10 });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'an old acknowledgment with text',
    rule: 'RFC 9293 3.10.7.4, RFC 5961 5.2',
    run: async (p) => {
      await p.opens();
      await p.app('write', 1000);
      await p.sends({ seq: 1, ack: 1001 });
      await p.sends({ seq: 1, ack: 501, len: 5 });
      await p.sends({ seq: 6, ack: 501 });
    },
  },
  {
    name: 'an acknowledgment older than any window',
    rule: 'RFC 5961 5.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: -200_000 });
      await p.sends({ seq: 1, ack: -200_000, len: 5 });
    },
  },
  {
    name: 'text behind the window, before it, and over both its edges',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: FAR, ack: 1, len: 100 });
      await p.sends({ seq: -99, ack: 1, len: 100 });
      await p.sends({ seq: -49, ack: 1, len: 100 });
    },
  },
  {
    name: 'an empty segment outside the window',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: FAR, ack: 1 });
      await p.sends({ seq: -1, ack: 1 });
      await p.sends({ seq: 0, ack: 1 });
    },
  },
  {
    name: 'keep-alive probes of the peer, empty and with a byte',
    rule: 'RFC 9293 3.8.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 10 });
      await p.sends({ seq: 10, ack: 1 });
      await p.sends({ seq: 10, ack: 1, len: 1 });
    },
  },
  {
    name: 'a hole, without SACK',
    rule: 'RFC 5681 4.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 101, ack: 1, len: 100 });
      await p.sends({ seq: 301, ack: 1, len: 100 });
      await p.sends({ seq: 1, ack: 1, len: 100 });
      await p.sends({ seq: 201, ack: 1, len: 100 });
    },
  },
  {
    name: 'holes, with SACK: the latest block first',
    rule: 'RFC 2018 4',
    run: async (p) => {
      await p.opens({ mss: 1460, sackPermitted: true });
      await p.sends({ seq: 101, ack: 1, len: 100 });
      await p.sends({ seq: 301, ack: 1, len: 100 });
      await p.sends({ seq: 501, ack: 1, len: 100 });
      await p.sends({ seq: 401, ack: 1, len: 50 });
      await p.sends({ seq: 1, ack: 1, len: 100 });
    },
  },
  {
    name: 'more holes than SACK blocks, with timestamps',
    rule: 'RFC 2018 3',
    run: async (p) => {
      await p.opens(USUAL);
      for (let i = 1; i <= 5; i++) await p.sends({ seq: 1 + 200 * i, ack: 1, len: 100, ts: 101 });
    },
  },
  {
    name: 'D-SACK: a duplicate of what was acknowledged',
    rule: 'RFC 2883 4.1',
    run: async (p) => {
      await p.opens({ mss: 1460, sackPermitted: true });
      await p.sends({ seq: 1, ack: 1, len: 100 });
      await p.sends({ seq: 1, ack: 1, len: 100 });
      await p.sends({ seq: 51, ack: 1, len: 100 });
    },
  },
  {
    name: 'D-SACK: a duplicate beyond a hole, whole and in part',
    rule: 'RFC 2883 4.1',
    run: async (p) => {
      await p.opens({ mss: 1460, sackPermitted: true });
      await p.sends({ seq: 201, ack: 1, len: 100 });
      await p.sends({ seq: 201, ack: 1, len: 100 });
      await p.sends({ seq: 251, ack: 1, len: 100 });
    },
  },
  {
    name: 'an old timestamp: dropped and answered',
    rule: 'RFC 7323 5.3',
    run: async (p) => {
      await p.opens(USUAL);
      await p.sends({ seq: 1, ack: 1, len: 10, ts: 200 });
      await p.sends({ seq: 11, ack: 1, len: 10, ts: 150 });
      await p.sends({ seq: 11, ack: 1, len: 10, ts: 200 });
    },
  },
  {
    name: 'an old timestamp on a bare ACK, on RST, on SYN',
    rule: 'RFC 7323 5.2, 5.3',
    run: async (p) => {
      await p.opens(USUAL);
      await p.sends({ seq: 1, ack: 1, len: 10, ts: 200 });
      await p.sends({ seq: 11, ack: 1, ts: 150 });
      await p.sends({ seq: 11, ack: 1, ts: 150, syn: true });
      await p.sends({ seq: 11, ts: 150, rst: true });
      await p.sends({ seq: 11, ack: 1, ts: 201, len: 5 });
    },
  },
  {
    name: 'a segment without the timestamps that were agreed on',
    rule: 'RFC 7323 3.2',
    run: async (p) => {
      await p.opens(USUAL);
      await p.sends({ seq: 1, ack: 1, len: 10 });
    },
  },
  {
    name: 'timestamps that were never agreed on',
    rule: 'RFC 7323 3.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 10, ts: 500 });
      await p.sends({ seq: 11, ack: 1, len: 10, ts: 100 });
    },
  },
  {
    name: 'the timestamp that is echoed after a hole',
    rule: 'RFC 7323 4.3',
    run: async (p) => {
      await p.opens(USUAL);
      await p.sends({ seq: 101, ack: 1, len: 100, ts: 300 });
      await p.sends({ seq: 1, ack: 1, len: 100, ts: 250 });
      await p.sends({ seq: 201, ack: 1, len: 100, ts: 310 });
    },
  },
  {
    name: 'urgent text is delivered in line',
    rule: 'RFC 9293 3.8.5, RFC 6093',
    run: async (p) => {
      await p.opens();
      await p.app('read');
      await p.sends({ seq: 1, ack: 1, len: 10, urg: 5 });
      await p.sends({ seq: 11, ack: 1, len: 10, urg: 60_000 });
      await p.sends({ seq: 21, ack: 1, urg: 1 });
    },
  },
  {
    name: 'a window that shuts, is probed, and opens',
    rule: 'RFC 9293 3.8.6, 3.10.7.4',
    run: async (p) => {
      p.to(SMALL_PORT);
      await p.opens();
      await p.fills();
      await p.sends({ seq: 1, ack: 1, len: 1 });
      await p.sends({ seq: 0, ack: 1 });
      await p.sends({ seq: 1, ack: 1 });
      await p.app('read');
      await p.sends({ seq: 1, ack: 1, len: 1 });
    },
  },
  {
    name: 'a shut window: acknowledgments and RST are taken',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      p.to(SMALL_PORT);
      await p.opens();
      await p.fills();
      await p.app('write', 100);
      await p.sends({ seq: 1, ack: 101 });
      await p.sends({ seq: 1, ack: 101, rst: true });
      await p.sends({ seq: 1, ack: 101, len: 1 });
    },
  },
  {
    name: 'a shut window: RST behind it, FIN in its place',
    rule: 'RFC 9293 3.10.7.4, RFC 5961 3.2',
    run: async (p) => {
      p.to(SMALL_PORT);
      await p.opens();
      await p.fills();
      await p.sends({ seq: 2, rst: true });
      await p.sends({ seq: 1, ack: 1, fin: true });
    },
  },
  {
    name: 'our window is shut by the peer and opens again',
    rule: 'RFC 9293 3.8.6.1',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, win: 0 });
      await p.app('write', 100);
      await p.waits(1000);
      await p.sends({ seq: 1, ack: 1, win: 1000 });
    },
  },
  {
    name: 'a small window of the peer takes part of what waits',
    rule: 'RFC 9293 3.8.6.2.1',
    run: async (p) => {
      await p.opens({ mss: 1000, win: 500 });
      await p.app('write', 2000);
      await p.sends({ seq: 1, ack: 501, win: 500 });
    },
  },
  {
    name: 'three duplicate acknowledgments: sent again',
    rule: 'RFC 5681 3.2',
    run: async (p) => {
      await p.opens({ mss: 1000 });
      await p.app('write', 5000);
      await p.sends({ seq: 1, ack: 1001 });
      await p.sends({ seq: 1, ack: 1001 }, { seq: 1, ack: 1001 }, { seq: 1, ack: 1001 });
      await p.sends({ seq: 1, ack: 5001 });
    },
  },
  {
    name: 'SACK blocks that make no sense',
    rule: 'RFC 2018, RFC 2883',
    run: async (p) => {
      await p.opens({ mss: 1000, sackPermitted: true });
      await p.app('write', 3000);
      await p.sends({ seq: 1, ack: 1, sack: [[90_000, 99_000]] });
      await p.sends({ seq: 1, ack: 1, sack: [[2001, 1001]] });
      await p.sends({ seq: 1, ack: 1, sack: [[-500, -100]] });
      await p.sends({ seq: 1, ack: 3001 });
    },
  },
  {
    name: 'blind text with an acknowledgment out of range',
    rule: 'RFC 5961 5.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 2_000_000_000, len: 20 });
      await p.sends({ seq: 1, ack: -2_000_000_000, len: 20 });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'SYN with FIN on an open connection',
    rule: 'RFC 5961 4.2',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, syn: true, fin: true });
    },
  },
  {
    name: 'a segment without any flag',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1 });
      await p.sends({ seq: FAR });
    },
  },
  {
    name: 'aborted by the application',
    rule: 'RFC 9293 3.10.5',
    run: async (p) => {
      await p.opens();
      await p.app('abort');
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
];
