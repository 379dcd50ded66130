/** What the tests of the HTTP proxy have in common: an origin or upstream on the fake host, and a client in the guest. */
import type { Duplex } from 'node:stream';
import type { NetworkConfig } from '../index.js';
import { type HostSocket, type TestNetwork, type TestNetworkOptions, testNetwork } from './index.js';

/** Answers each request on a connection with `answer(head, body so far)`. */
export function serve(
  lab: TestNetwork,
  address: string,
  answer: (head: string, socket: HostSocket) => void,
): void {
  lab.host.accept(address, (socket) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        answer(head, socket);
      }
    });
  });
}

export const ok = (body: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** Sends text to the proxy, or to `where`, and reads until `enough` of the answer is there, or it ends. */
export async function ask(
  lab: TestNetwork,
  text: string,
  enough: (answer: string) => boolean = () => false,
  [ip, port]: readonly [ip: string, port: number] = [lab.gateway, 3128],
): Promise<string> {
  return lab.run(async () => {
    const socket: Duplex = await lab.guest.connect(ip, port);
    if (text !== '') socket.write(Buffer.from(text, 'latin1'));
    let answer = '';
    try {
      for await (const chunk of socket) {
        answer += (chunk as Buffer).toString('latin1');
        if (enough(answer)) break;
      }
    } catch {
      answer += '[reset]';
    }
    socket.destroy();
    return answer;
  });
}

export const until = (text: string) => (answer: string) => answer.includes(text);

export async function proxyLab(
  config: NetworkConfig = {},
  options: TestNetworkOptions = {},
): Promise<TestNetwork> {
  const made = await testNetwork(config, options);
  made.host.name('origin.test', '198.51.100.1');
  made.host.name('proxy.corp', '203.0.113.9');
  return made;
}
