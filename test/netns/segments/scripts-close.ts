/** Scripts: closing connections, and what comes afterwards. */
import { type Play, type Script, USUAL } from './play.js';

const FAR = 5_000_000;

/** Ways into the states in which a connection ends. */
const finWait1 = async (p: Play): Promise<void> => {
  await p.opens();
  await p.app('end');
};
const finWait2 = async (p: Play): Promise<void> => {
  await finWait1(p);
  await p.sends({ seq: 1, ack: 2 });
};
const closeWait = async (p: Play): Promise<void> => {
  await p.opens();
  await p.sends({ seq: 1, ack: 1, fin: true });
};
const lastAck = async (p: Play): Promise<void> => {
  await closeWait(p);
  await p.app('end');
};
const closing = async (p: Play): Promise<void> => {
  await finWait1(p);
  await p.sends({ seq: 1, ack: 1, fin: true });
};
const timeWait = async (p: Play): Promise<void> => {
  await finWait2(p);
  await p.sends({ seq: 1, ack: 2, fin: true });
};

/** What may come in any of them; numbers fit a peer that has sent FIN (`seq` 2) or not (`seq` 1). */
function strange(seq: number, ack: number): Script['run'] {
  return async (p) => {
    await p.sends({ seq: FAR, rst: true });
    await p.sends({ seq: seq + 50, rst: true });
    await p.sends({ seq, ack, syn: true });
    await p.sends({ seq: 0, syn: true });
    await p.sends({ seq, ack: ack + 500 });
    await p.sends({ seq, ack: ack - 200_000 });
    await p.sends({ seq, len: 3 });
    await p.sends({ seq: FAR, ack, len: 3 });
    await p.sends({ seq: FAR, ack });
    await p.sends({ seq, rst: true });
    await p.sends({ seq, ack, len: 3 });
  };
}

const STATES = [
  ['FIN-WAIT-1', finWait1, 1, 1],
  ['FIN-WAIT-2', finWait2, 1, 2],
  ['CLOSE-WAIT', closeWait, 2, 1],
  ['LAST-ACK', lastAck, 2, 1],
  ['CLOSING', closing, 2, 1],
  ['TIME-WAIT', timeWait, 2, 2],
] as const;

const STRANGE: readonly Script[] = STATES.map(([state, into, seq, ack]) => ({
  name: `${state}: what does not belong there`,
  rule: 'RFC 9293 3.10.7.4, RFC 5961',
  run: async (p) => {
    await into(p);
    await strange(seq, ack)(p);
  },
}));

export const CLOSING: readonly Script[] = [
  ...STRANGE,
  {
    name: 'the peer closes, then we',
    rule: 'RFC 9293 3.6',
    run: async (p) => {
      await lastAck(p);
      await p.sends({ seq: 2, ack: 2 });
      await p.sends({ seq: 2, ack: 2 });
    },
  },
  {
    name: 'we close, then the peer',
    rule: 'RFC 9293 3.6',
    run: async (p) => {
      await timeWait(p);
      await p.sends({ seq: 1, ack: 2, fin: true });
      await p.sends({ seq: 2, ack: 2 });
    },
  },
  {
    name: 'FIN acknowledges ours',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await finWait1(p);
      await p.sends({ seq: 1, ack: 2, fin: true });
      await p.sends({ seq: 1, ack: 2, fin: true });
    },
  },
  {
    name: 'simultaneous close',
    rule: 'RFC 9293 3.6, figure 13',
    run: async (p) => {
      await closing(p);
      await p.sends({ seq: 2, ack: 2 });
      await p.sends({ seq: 1, ack: 2, fin: true });
    },
  },
  {
    name: 'FIN with text',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 10, fin: true });
      await p.sends({ seq: 1, ack: 1, len: 10, fin: true });
    },
  },
  {
    name: 'FIN before its turn',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens({ mss: 1460, sackPermitted: true });
      await p.sends({ seq: 11, ack: 1, len: 10, fin: true });
      await p.sends({ seq: 1, ack: 1, len: 10 });
      await p.app('end');
      await p.sends({ seq: 22, ack: 2 });
    },
  },
  {
    name: 'a bare FIN before its turn',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens({ mss: 1460, sackPermitted: true });
      await p.sends({ seq: 11, ack: 1, fin: true });
      await p.sends({ seq: 1, ack: 1, len: 10 });
    },
  },
  {
    name: 'FIN without ACK is dropped',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, fin: true });
      await p.sends({ seq: 1, ack: 1, len: 5 });
    },
  },
  {
    name: 'CLOSE-WAIT: the FIN again, and text behind it',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await closeWait(p);
      await p.sends({ seq: 1, ack: 1, fin: true });
      await p.sends({ seq: 2, ack: 1, len: 10 });
      await p.app('write', 10);
      await p.sends({ seq: 2, ack: 11 });
    },
  },
  {
    name: 'half-close: text still comes',
    rule: 'RFC 9293 3.6',
    run: async (p) => {
      await finWait2(p);
      await p.sends({ seq: 1, ack: 2, len: 100 });
      await p.sends({ seq: 101, ack: 2, len: 100, fin: true });
    },
  },
  {
    name: 'half-close: FIN behind text that waits',
    rule: 'RFC 9293 3.10.4',
    run: async (p) => {
      await p.opens({ mss: 1000, win: 1000 });
      await p.app('write', 1500);
      await p.app('end');
      await p.sends({ seq: 1, ack: 1001, win: 1000 });
      await p.sends({ seq: 1, ack: 1502, win: 1000 });
    },
  },
  {
    name: 'closed with text unread: RST',
    rule: 'RFC 1122 4.2.2.13',
    run: async (p) => {
      await p.opens();
      await p.sends({ seq: 1, ack: 1, len: 10 });
      await p.app('close');
      await p.sends({ seq: 11, ack: 1 });
    },
  },
  {
    name: 'text for a closed application: RST',
    rule: 'RFC 1122 4.2.2.13',
    run: async (p) => {
      await p.opens();
      await p.app('close');
      await p.sends({ seq: 1, ack: 2, len: 10 });
      await p.sends({ seq: 11, ack: 2 });
    },
  },
  {
    name: 'text for a closed application before it acknowledges the FIN',
    rule: 'RFC 1122 4.2.2.13',
    run: async (p) => {
      await p.opens();
      await p.app('close');
      await p.sends({ seq: 1, ack: 1, len: 10 });
    },
  },
  {
    name: 'FIN for a closed application',
    rule: 'RFC 9293 3.6',
    run: async (p) => {
      await p.opens();
      await p.app('close');
      await p.sends({ seq: 1, ack: 2, fin: true });
      await p.sends({ seq: 2, ack: 2 });
    },
  },
  {
    name: 'text with FIN for a closed application',
    rule: 'RFC 1122 4.2.2.13',
    run: async (p) => {
      await p.opens();
      await p.app('close');
      await p.sends({ seq: 1, ack: 2, len: 5, fin: true });
    },
  },
  {
    name: 'TIME-WAIT: a SYN with a higher sequence number opens anew',
    rule: 'RFC 9293 3.6.1',
    run: async (p) => {
      await timeWait(p);
      await p.sends({ syn: true, seq: 100_000, mss: 1460 });
      await p.sends({ seq: 100_001, ack: 1, len: 5 });
    },
  },
  {
    name: 'TIME-WAIT: a SYN with a lower sequence number does not',
    rule: 'RFC 9293 3.6.1',
    run: async (p) => {
      await timeWait(p);
      await p.sends({ syn: true, seq: -100_000, mss: 1460 });
    },
  },
  {
    name: 'TIME-WAIT: a SYN with a later timestamp opens anew',
    rule: 'RFC 6191',
    run: async (p) => {
      await p.opens(USUAL);
      await p.app('end');
      await p.sends({ seq: 1, ack: 2, ts: 102, fin: true });
      await p.sends({ ...USUAL, syn: true, seq: -100_000, ts: 5000 });
    },
  },
  {
    name: 'TIME-WAIT: text is not taken',
    rule: 'RFC 9293 3.10.7.4',
    run: async (p) => {
      await timeWait(p);
      await p.sends({ seq: 2, ack: 2, len: 10 });
    },
  },
  {
    name: 'after the end: nobody is there',
    rule: 'RFC 9293 3.10.7.1',
    run: async (p) => {
      await lastAck(p);
      await p.sends({ seq: 2, ack: 2 });
      await p.sends({ seq: 2, ack: 2, len: 10 });
    },
  },
];
