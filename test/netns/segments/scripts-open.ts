/** Scripts: opening connections, and what comes before they are open. */
import { type Script, USUAL } from './play.js';
import { PORT } from './sides.js';

export const OPENING: readonly Script[] = [
  {
    name: 'SYN with all usual options',
    rule: 'RFC 9293 3.10.7.2, RFC 7323, RFC 2018',
    run: async (p) => {
      await p.opens(USUAL);
      await p.sends({ seq: 1, ack: 1, len: 10, ts: 102 });
    },
  },
  { name: 'SYN without options', rule: 'RFC 9293 3.7.1', run: (p) => p.opens({}) },
  { name: 'SYN with MSS alone', rule: 'RFC 9293 3.7.1', run: (p) => p.opens({ mss: 1200 }) },
  {
    name: 'SYN with a tiny MSS: segments stay useful',
    rule: 'RFC 9293 3.7.1',
    run: async (p) => {
      await p.opens({ mss: 10 });
      await p.app('write', 40);
    },
  },
  {
    name: 'SYN with MSS 0',
    rule: 'RFC 9293 3.7.1',
    run: async (p) => {
      await p.opens({ mss: 0 });
      await p.app('write', 100);
    },
  },
  {
    name: 'no MSS: 536 bytes a segment',
    rule: 'RFC 9293 3.7.1',
    run: async (p) => {
      await p.opens({});
      await p.app('write', 600);
    },
  },
  {
    name: 'SYN with timestamps alone',
    rule: 'RFC 7323 3.2',
    run: (p) => p.opens({ mss: 1460, ts: 100 }),
  },
  {
    name: 'SYN with SACK permitted alone',
    rule: 'RFC 2018 2',
    run: (p) => p.opens({ mss: 1460, sackPermitted: true }),
  },
  {
    name: 'SYN with window scale alone, the largest',
    rule: 'RFC 7323 2.2',
    run: (p) => p.opens({ mss: 1460, scale: 14 }),
  },
  {
    name: 'SYN with a window scale above 14',
    rule: 'RFC 7323 2.3',
    run: (p) => p.opens({ mss: 1460, raw: [3, 3, 200, 1] }),
  },
  {
    name: 'SYN with an unknown option',
    rule: 'RFC 9293 MUST-6',
    run: (p) => p.opens({ mss: 1460, raw: [77, 6, 1, 2, 3, 4, 1, 1] }),
  },
  {
    name: 'SYN with an option of length 0',
    rule: 'RFC 9293 MUST-7',
    run: (p) => p.opens({ mss: 1460, raw: [77, 0, 4, 2] }),
  },
  {
    name: 'SYN with an option that ends behind the header',
    rule: 'RFC 9293 MUST-7',
    run: (p) => p.opens({ mss: 1460, raw: [1, 1, 3, 9] }),
  },
  {
    name: 'SYN that asks for ECN',
    rule: 'RFC 3168 6.1.1',
    run: async (p) => {
      await p.opens({ mss: 1460, ece: true, cwr: true });
      await p.sends({ seq: 1, ack: 1, len: 10, ecn: 3 });
      await p.sends({ seq: 11, ack: 1, len: 10, ecn: 2 });
      await p.sends({ seq: 21, ack: 1, len: 10, ecn: 2, cwr: true });
    },
  },
  { name: 'SYN with ECE alone', rule: 'RFC 3168 6.1.1', run: (p) => p.opens({ mss: 1460, ece: true }) },
  { name: 'SYN with CWR alone', rule: 'RFC 3168 6.1.1', run: (p) => p.opens({ mss: 1460, cwr: true }) },
  {
    name: 'SYN with text',
    rule: 'RFC 9293 3.10.7.2',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460, len: 10 });
      await p.sends({ seq: 1, ack: 1 });
      await p.sends({ seq: 1, ack: 1, len: 10 });
    },
  },
  {
    name: 'SYN with FIN',
    rule: 'RFC 9293 3.10.7.2',
    run: (p) => p.sends({ syn: true, fin: true, seq: 0, mss: 1460 }),
  },
  {
    name: 'SYN with RST',
    rule: 'RFC 9293 3.10.7.2',
    run: (p) => p.sends({ syn: true, rst: true, seq: 0, mss: 1460 }),
  },
  {
    name: 'SYN with URG',
    rule: 'RFC 9293 3.10.7.2',
    run: (p) => p.opens({ mss: 1460, urg: 1 }),
  },
  {
    name: 'SYN with a window of 0',
    rule: 'RFC 9293 3.10.7.2',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460, win: 0 });
      await p.sends({ seq: 1, ack: 1, win: 65_535 });
      await p.app('write', 10);
    },
  },
  {
    name: 'SYN to a closed port, with and without text',
    rule: 'RFC 9293 3.10.7.1',
    run: async (p) => {
      p.to(PORT + 100);
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ syn: true, seq: 0, mss: 1460, len: 7 });
    },
  },
  {
    name: 'without a connection: ACK, text, FIN, nothing at all',
    rule: 'RFC 9293 3.10.7.1',
    run: async (p) => {
      p.to(PORT + 100);
      await p.sends({ seq: 5, ack: 9 });
      await p.sends({ seq: 5, ack: 9, len: 10 });
      await p.sends({ seq: 5, len: 10 });
      await p.sends({ seq: 5, fin: true });
      await p.sends({ seq: 5, fin: true, ack: 9 });
      await p.sends({ seq: 5 });
    },
  },
  {
    name: 'without a connection: RST is not answered',
    rule: 'RFC 9293 3.10.7.1',
    run: async (p) => {
      p.to(PORT + 100);
      await p.sends({ seq: 5, rst: true });
      await p.sends({ seq: 5, ack: 5, rst: true });
    },
  },
  {
    name: 'LISTEN: an acknowledgment of nothing',
    rule: 'RFC 9293 3.10.7.2',
    run: async (p) => {
      await p.sends({ seq: 0, ack: 5 });
      await p.sends({ seq: 0, ack: 5, syn: true });
    },
  },
  {
    name: 'LISTEN: neither SYN nor ACK',
    rule: 'RFC 9293 3.10.7.2',
    run: (p) => p.sends({ seq: 0, len: 10 }),
  },
  {
    name: 'a wrong checksum',
    rule: 'RFC 9293 MUST-3',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460, badChecksum: true });
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 10, badChecksum: true });
    },
  },
  {
    name: 'a header length that lies',
    rule: 'RFC 9293 3.1',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 4, dataOffset: 4 });
      await p.sends({ seq: 1, ack: 1, len: 4, dataOffset: 15 });
    },
  },
  {
    name: 'SYN-RECEIVED: the SYN again',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, ack: 1 });
    },
  },
  {
    name: 'SYN-RECEIVED: another SYN in the window',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ syn: true, seq: 100, mss: 1460 });
      await p.sends({ seq: 1, ack: 1, len: 3 });
    },
  },
  {
    name: 'SYN-RECEIVED: an acknowledgment of what was never sent',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, ack: 100 });
      await p.sends({ seq: 1, ack: 0 });
      await p.sends({ seq: 1, ack: 1, len: 3 });
    },
  },
  {
    name: 'SYN-RECEIVED: RST in its place',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, rst: true });
      await p.sends({ seq: 1, ack: 1 });
    },
  },
  {
    name: 'SYN-RECEIVED: RST outside the window',
    rule: 'RFC 5961 3.2',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1_000_000, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 3 });
    },
  },
  {
    name: 'SYN-RECEIVED: RST in the window, not in its place',
    rule: 'RFC 5961 3.2',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 100, rst: true });
      await p.sends({ seq: 1, ack: 1, len: 3 });
    },
  },
  {
    name: 'SYN-RECEIVED: text and FIN with the acknowledgment',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, ack: 1, len: 10, fin: true });
      await p.app('end');
      await p.sends({ seq: 12, ack: 2 });
    },
  },
  {
    name: 'SYN-RECEIVED: text without an acknowledgment',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, len: 10 });
      await p.sends({ seq: 1, ack: 1, len: 10 });
    },
  },
  {
    name: 'SYN-RECEIVED: text outside the window',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1_000_000, ack: 1, len: 10 });
    },
  },
  {
    name: 'SYN-RECEIVED: an old timestamp',
    rule: 'RFC 7323 5.3',
    run: async (p) => {
      await p.sends({ ...USUAL, syn: true, seq: 0 });
      await p.sends({ seq: 1, ack: 1, ts: 50 });
    },
  },
];

/** SYN-SENT: the other side connects to us. */
export const SYN_SENT: readonly Script[] = [
  {
    name: 'SYN-SENT: the handshake',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ ...USUAL, syn: true, seq: 0, ack: 1 });
      await p.app('write', 5);
    },
  },
  {
    name: 'SYN-SENT: SYN-ACK without options',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, ack: 1 });
      await p.app('write', 5);
    },
  },
  {
    name: 'SYN-SENT: refused',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ rst: true, seq: 0, ack: 1 });
      await p.sends({ syn: true, seq: 0, ack: 1 });
    },
  },
  {
    name: 'SYN-SENT: RST that acknowledges something else, or nothing',
    rule: 'RFC 9293 3.10.7.3, RFC 5961 3.2',
    run: async (p) => {
      await p.connects();
      await p.sends({ rst: true, seq: 0, ack: 9 });
      await p.sends({ rst: true, seq: 0 });
      await p.sends({ syn: true, seq: 0, ack: 1, mss: 1460 });
    },
  },
  {
    name: 'SYN-SENT: SYN-ACK that acknowledges something else',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, ack: 9, mss: 1460 });
      await p.sends({ syn: true, seq: 0, ack: 0, mss: 1460 });
      await p.sends({ syn: true, seq: 0, ack: 1, mss: 1460 });
    },
  },
  {
    name: 'SYN-SENT: an acknowledgment without SYN',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ seq: 0, ack: 1 });
      await p.sends({ seq: 0, ack: 7 });
      await p.sends({ seq: 0, len: 10 });
    },
  },
  {
    name: 'simultaneous open',
    rule: 'RFC 9293 3.5, figure 8',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ syn: true, seq: 0, ack: 1, mss: 1460 });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'simultaneous open: the acknowledgment comes bare',
    rule: 'RFC 9293 3.5, figure 8',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'simultaneous open: reset',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, mss: 1460 });
      await p.sends({ seq: 1, rst: true });
      await p.sends({ seq: 1, ack: 1 });
    },
  },
  {
    name: 'SYN-SENT: SYN-ACK with text',
    rule: 'RFC 9293 3.10.7.3',
    run: async (p) => {
      await p.connects();
      await p.sends({ syn: true, seq: 0, ack: 1, mss: 1460, len: 5 });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'SYN-SENT: closed before it is open',
    rule: 'RFC 9293 3.10.4',
    run: async (p) => {
      await p.connects();
      await p.app('close');
      await p.sends({ syn: true, seq: 0, ack: 1, mss: 1460 });
    },
  },
];
