import { describe, expect, it } from 'vitest';
import { formatTcpInfo } from './index.js';
import { established, Script, type Seg, USUAL } from './script.testutil.js';

const line = (s: Script): string => formatTcpInfo(s.connection.info());

describe('a connection as `ss -ti` shows it', () => {
  it('before the handshake: no round trip is known, nothing is negotiated', () => {
    expect(line(new Script().connects())).toBe(
      'SYN-SENT cubic rto:1000 rtt:0/0 mss:536 cwnd:0 unacked:1 inflight:1 snd_wnd:0 rcv_wnd:0',
    );
  });

  it('in step: options, scales, round trip, windows, bytes both ways', () => {
    const s = new Script({ ecn: 'accept' }).listens({ ...USUAL, ece: true, cwr: true }).accepts();
    s.at(3).receives({ seq: 1, ack: 1, win: 512, ts: [103, 0] });
    s.receives({ seq: 1, ack: 1, win: 512, ts: [103, 0], len: 300 }).writes(500);
    expect(line(s)).toBe(
      'ESTABLISHED cubic ts sack ecn wscale:7,5 rto:200 rtt:3/1.5 mss:1448 cwnd:14480 unacked:500 ' +
        'inflight:500 snd_wnd:65536 rcv_wnd:1048256 bytes_received:300 sendq:500 recvq:300',
    );
    s.at(10)
      .reads()
      .receives({ seq: 301, ack: 501, win: 512, ts: [110, 3] });
    expect(s.connection.info()).toMatchObject({
      minRtt: 7,
      bytesOut: 500,
      flight: 0,
      sendQueue: 0,
      receiveQueue: 0,
    });
  });

  it('in trouble: what is held, lost, sent again and before its turn', () => {
    const syn: Seg = { mss: 1000, sackPermitted: true, win: 65535 };
    const s = established({ congestion: 'newreno' }, syn).writes(6000);
    s.receives({ seq: 1, ack: 1, win: 65535, sack: [[1001, 5001]] });
    s.receives({ seq: 101, ack: 1, win: 65535, len: 50, sack: [[1001, 5001]] });
    expect(s.connection.info()).toMatchObject({ recovery: 'fast', sacked: 4000, retransmits: 1 });
    expect(line(s)).toBe(
      'ESTABLISHED newreno sack rto:200 rtt:0/0 mss:1000 cwnd:3000 ssthresh:3000 unacked:6000 ' +
        'inflight:2000 sacked:4000 retrans:1 snd_wnd:65535 rcv_wnd:65535 sendq:6000 ooo:50 recovery:fast',
    );
    s.at(500);
    expect(s.connection.info()).toMatchObject({ recovery: 'timeout', backoff: 1, rto: 400 });
    expect(line(s)).toContain('backoff:1');
  });

  it('a shut window is probed; the state table speaks for itself at the end', () => {
    const s = established({}, { mss: 1000, win: 0 }).writes(10);
    expect(line(s)).toMatch(/ probing$/);
    s.aborts();
    expect(line(s)).toMatch(/^CLOSED /);
  });

  it('plain numbers: JSON loses nothing', () => {
    const info = established().connection.info();
    expect(JSON.parse(JSON.stringify(info))).toEqual(info);
  });
});
