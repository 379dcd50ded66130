/** The compliance suite over every transport that needs no native layer. */
import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '../core/index.js';
import type { BlockPool } from '../core/index.js';
import { Collector, complianceSuite, transmit } from './compliance.testutil.js';
import type { Pair, Rig, Transport } from './compliance.testutil.js';
import { stdioLink } from './fd-link.js';
import { memoryLinkPair } from './memory-link.js';
import { StreamPeer } from './peers.testutil.js';
import type { Peer } from './peers.testutil.js';
import { streamTransports } from './rigs.testutil.js';

const transports: Transport[] = [
  ...streamTransports(),
  { name: 'stdio', maxFrame: 65_535, stream: true, backpressure: true, open: pipes },
  { name: 'memory', maxFrame: 131_072, stream: false, backpressure: true, open: memory },
];

/** Two named pipes, as a parent hands them to a child. */
function pipes(pool: BlockPool): Rig {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const make = (): [number, number] => {
    const file = path.join(directory, `p${count++}`);
    execFileSync('mkfifo', [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    return [reader, openSync(file, constants.O_WRONLY | constants.O_NONBLOCK)];
  };
  let count = 0;
  return {
    single: true,
    connect: async (): Promise<Pair> => {
      const [ourInput, theirOutput] = make();
      const [theirInput, ourOutput] = make();
      const link = stdioLink({ pool, logger: silentLogger }, ourInput, ourOutput);
      const input = new Socket({ fd: theirInput, readable: true, writable: false });
      const output = new Socket({ fd: theirOutput, readable: false, writable: true });
      return { link, peer: new StreamPeer(input, 'le16', output) };
    },
    dispose: () => rmSync(directory, { recursive: true }),
  };
}

/** The other end of a memory pair is a link too. */
function memory(pool: BlockPool): Rig {
  return {
    connect: async (): Promise<Pair> => {
      const [link, other] = memoryLinkPair(pool);
      const handler = new Collector();
      other.start(handler);
      const peer: Peer = {
        send: (frame) => {
          transmit(other, Buffer.from(frame));
          other.output.flush();
        },
        take: (n) => handler.take(n),
        received: handler.frames_,
        pause: () => other.pause(),
        resume: () => other.resume(),
        close: () => other.close(),
        closed: handler.ended.then(() => undefined),
      };
      return { link, peer };
    },
    dispose: () => undefined,
  };
}

for (const transport of transports) complianceSuite(transport);
