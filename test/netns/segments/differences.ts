/** Where we answer otherwise than Linux does, on purpose. docs/conformance.md shows the same table. */

export interface Difference {
  readonly script: string;
  /** The step of the script, as it is written down. */
  readonly step: string;
  /** All answers to it, joined by `; `. Empty: none. */
  readonly linux: string;
  readonly ours: string;
}

/** Differences with one reason. */
export interface Deviation {
  readonly what: string;
  readonly why: string;
  readonly cases: readonly Difference[];
}

const SYN_AGAIN = 'SYN seq 0 open mss 1460 scale sack-permitted echo 0';
const ALL_OPTIONS = {
  step: 'SYN seq 0 mss 1460',
  linux: 'SYN ACK seq 0 ack 1 open mss 1460 scale sack-permitted echo 0',
  ours: 'SYN ACK seq 0 ack 1 open mss 1460',
} as const;
const TIME_WAIT = 'TIME-WAIT: what does not belong there';
const TIME_WAIT_ACK = 'ACK seq 2 ack 2 open';

export const DEVIATIONS: readonly Deviation[] = [
  {
    what: 'SYN with FIN opens a connection; Linux drops it',
    why: 'RFC 9293 section 3.10.7.2 takes the SYN; the FIN is left to be sent again, as text on a SYN is',
    cases: [
      {
        script: 'SYN with FIN',
        step: 'SYN FIN seq 0 mss 1460',
        linux: '',
        ours: 'SYN ACK seq 0 ack 1 open mss 1460',
      },
    ],
  },
  {
    what: 'A segment with neither SYN nor ACK for no connection is answered with RST; a Linux that listens drops it',
    why: 'Before a SYN came nobody knows whether a host of the world listens, so to a guest every port is CLOSED',
    cases: [
      {
        script: 'LISTEN: neither SYN nor ACK',
        step: 'seq 0 len 10',
        linux: '',
        ours: 'RST ACK no seq ack 10',
      },
    ],
  },
  {
    what: 'In SYN-RECEIVED another SYN in the window gets a challenge ACK; Linux resets',
    why: 'RFC 5961 section 4.2, applied here as well: a blind SYN must not end a handshake',
    cases: [
      {
        script: 'SYN-RECEIVED: another SYN in the window',
        step: 'SYN seq 100 mss 1460',
        linux: 'RST ACK no seq ack 101',
        ours: 'ACK seq 1 ack 1 open',
      },
      {
        script: 'SYN-RECEIVED: another SYN in the window',
        step: 'seq 1 ack 1 len 3',
        linux: 'RST seq 1',
        ours: 'ACK seq 1 ack 4 open',
      },
    ],
  },
  {
    what: 'In SYN-SENT a wrong acknowledgment does not repeat our SYN at once',
    why: 'The timer repeats it after a second; no RFC asks for more, and a peer cannot make us send',
    cases: [
      {
        script: 'SYN-SENT: RST that acknowledges something else, or nothing',
        step: 'RST seq 0 ack 9',
        linux: SYN_AGAIN,
        ours: '',
      },
      {
        script: 'SYN-SENT: SYN-ACK that acknowledges something else',
        step: 'SYN seq 0 ack 9 mss 1460',
        linux: `RST seq 9; ${SYN_AGAIN}`,
        ours: 'RST seq 9',
      },
      {
        script: 'SYN-SENT: an acknowledgment without SYN',
        step: 'seq 0 ack 7',
        linux: `RST seq 7; ${SYN_AGAIN}`,
        ours: 'RST seq 7',
      },
    ],
  },
  {
    what: 'In a simultaneous open our SYN-ACK has only the options that the peer offered',
    why: 'RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2: an option holds when both SYNs carry it',
    cases: [
      { script: 'simultaneous open', ...ALL_OPTIONS },
      { script: 'simultaneous open: the acknowledgment comes bare', ...ALL_OPTIONS },
      { script: 'simultaneous open: reset', ...ALL_OPTIONS },
    ],
  },
  {
    what: 'The SYN-ACK of a simultaneous open is taken as the acknowledgment that it is, and not answered',
    why: 'RFC 9293 figure 8: both sides are ESTABLISHED then, and nothing is owed',
    cases: [
      {
        script: 'simultaneous open',
        step: 'SYN seq 0 ack 1 mss 1460',
        linux: 'ACK seq 1 ack 1 open',
        ours: '',
      },
    ],
  },
  {
    what: 'A close before the handshake is done waits for it and sends FIN; Linux gives up',
    why: 'What a client of a published port wrote before it closed must reach the guest',
    cases: [
      {
        script: 'SYN-SENT: closed before it is open',
        step: 'SYN seq 0 ack 1 mss 1460',
        linux: 'RST seq 1',
        ours: 'FIN ACK seq 1 ack 1 open',
      },
    ],
  },
  {
    what: 'Segments that arrive in one batch are acknowledged together, also at the start',
    why: 'RFC 9293 section 3.8.6.3 asks for one for two; acknowledgments are sent after each batch of frames',
    cases: [
      {
        script: 'text in order',
        step: 'seq 101 ack 1 len 1460, seq 1561 ack 1 len 1460',
        linux: 'ACK seq 1 ack 1561 open; ACK seq 1 ack 3021 open',
        ours: 'ACK seq 1 ack 3021 open',
      },
    ],
  },
  {
    what: 'A bare ACK in its place that fails PAWS and acknowledges nothing is dropped without an answer',
    why: 'It was overtaken by a later one; an answer would be a duplicate acknowledgment (RFC 5681)',
    cases: [
      {
        script: 'an old timestamp on a bare ACK, on RST, on SYN',
        step: 'seq 11 ack 1 ts 150',
        linux: 'ACK seq 1 ack 11 open echo 200',
        ours: '',
      },
    ],
  },
  {
    what: 'FIN is not taken while the window is shut; Linux takes a bare one',
    why: 'RFC 9293 section 3.10.7.4: it occupies a place outside the window; the answer says so, and it comes again',
    cases: [
      {
        script: 'a shut window: RST behind it, FIN in its place',
        step: 'FIN seq 1 ack 1',
        linux: '',
        ours: 'ACK seq 1 ack 1 shut',
      },
    ],
  },
  {
    what: 'A shut window is probed with the next byte; Linux sends an old, empty segment',
    why: 'RFC 9293 section 3.8.6.1 (MUST-58): the byte is acknowledged as soon as there is room for it',
    cases: [
      {
        script: 'our window is shut by the peer and opens again',
        step: '1000 ms',
        linux: 'ACK seq 0 ack 1 open; ACK seq 0 ack 1 open',
        ours: 'ACK seq 1 ack 1 len 1 open; ACK seq 1 ack 1 len 1 open',
      },
    ],
  },
  {
    what: 'A segment without ACK outside the window is answered; Linux drops it first',
    why: 'RFC 9293 section 3.10.7.4: the sequence number is checked before ACK is',
    cases: [
      {
        script: 'a segment without any flag',
        step: 'seq 5000000',
        linux: '',
        ours: 'ACK seq 1 ack 1 open',
      },
    ],
  },
  {
    what: 'TIME-WAIT has the same checks as the other states; Linux has a short form of its own',
    why: 'RFC 9293 section 3.10.7.4, RFC 5961: challenge ACK for RST not in its place and ACK out of range, no answer without ACK, text ignored',
    cases: [
      { script: TIME_WAIT, step: 'RST seq 52', linux: '', ours: TIME_WAIT_ACK },
      { script: TIME_WAIT, step: 'seq 2 ack 502', linux: '', ours: TIME_WAIT_ACK },
      { script: TIME_WAIT, step: 'seq 2 ack -199998', linux: '', ours: TIME_WAIT_ACK },
      { script: TIME_WAIT, step: 'seq 2 len 3', linux: TIME_WAIT_ACK, ours: '' },
      { script: 'TIME-WAIT: text is not taken', step: 'seq 2 ack 2 len 10', linux: TIME_WAIT_ACK, ours: '' },
    ],
  },
  {
    what: 'SACK reports a FIN that waits with the text before it, but not one that stands alone',
    why: 'There is no text to keep; a FIN that comes again costs nothing',
    cases: [
      {
        script: 'a bare FIN before its turn',
        step: 'FIN seq 11 ack 1',
        linux: 'ACK seq 1 ack 1 open sack 11-12',
        ours: 'ACK seq 1 ack 1 open',
      },
    ],
  },
  {
    what: 'RST for text that nobody will read has our next sequence number; that of Linux has what was acknowledged',
    why: 'RFC 9293 section 3.10.5: it follows what was sent, so that it is in its place when that has arrived',
    cases: [
      {
        script: 'text for a closed application: RST',
        step: 'seq 1 ack 2 len 10',
        linux: 'RST seq 2',
        ours: 'RST ACK seq 2 ack 1',
      },
      {
        script: 'text for a closed application before it acknowledges the FIN',
        step: 'seq 1 ack 1 len 10',
        linux: 'RST seq 1',
        ours: 'RST ACK seq 2 ack 1',
      },
      {
        script: 'text with FIN for a closed application',
        step: 'FIN seq 1 ack 2 len 5',
        linux: 'RST seq 2',
        ours: 'RST ACK seq 2 ack 1',
      },
    ],
  },
];

/** The table of docs/conformance.md. */
export function formatDeviations(): string {
  const rows = DEVIATIONS.map(({ what, why, cases }) => {
    const scripts = [...new Set(cases.map((c) => c.script))];
    return `| ${what} | ${why} | ${scripts.join('; ')} |`;
  });
  return ['| What | Why | Scripts |', '|---|---|---|', ...rows].join('\n');
}
