// netproxy as a library: a network, a guest on it, and traffic both ways. Runs by itself and ends by itself:
//
//   node examples/embed.mjs
//
// The guest is the scripted one of netproxy/testing, so that nothing needs to be installed. A QEMU guest would attach with
// `await network.listenLinks('qemu', 'unix:/run/vm.sock')`; everything else stays the same.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { createNetwork } from 'netproxy';
import { ScriptedGuest, memoryLink, realScheduler } from 'netproxy/testing';

// Something on the host's loopback that the guest may reach by the host alias, and nothing else.
const web = createServer((request, response) => response.end(`hello ${request.headers['user-agent']}\n`));
web.listen(0, '127.0.0.1');
await once(web, 'listening');

const network = createNetwork(
  { policy: { default: 'deny', rules: [`allow tcp:host:${web.address().port}`] } },
  { native: false },
);
network.on('attached', (guest) => console.log(`attached: ${guest.name}`));
network.on('lease', ({ kind, lease }) => console.log(`lease ${kind}: ${lease.mac}`));
await network.start();

// A guest. Its link could be a QEMU socket, a TAP, a vsock.
const link = memoryLink(realScheduler);
network.attach(link.network, { name: 'build' });
const guest = new ScriptedGuest(link.guest, { name: 'build' });
const { ip } = await guest.dhcp();
console.log(
  `the guest is ${ip}, a ping of the gateway takes ${(await guest.ping(network.addresses.gateway)).toFixed(1)} ms`,
);

// From the guest to the host.
const alias = await guest.resolve('host.netproxy.internal');
const socket = await guest.connect(alias[0], web.address().port);
socket.end('GET / HTTP/1.0\r\nUser-Agent: guest\r\n\r\n');
console.log(`the host says: ${(await textOf(socket)).split('\r\n\r\n')[1].trim()}`);

// What the policy says, by the function that decides about flows.
const { verdict, rule } = await network.explain({ host: '203.0.113.1', port: 443, guest: 'build' });
console.log(`203.0.113.1:443 would be: ${verdict.kind}, by ${rule}`);

// From the host into the guest, without a port on the host.
guest.listen(7, (connection) => connection.pipe(connection));
const echo = network.dial('build', 7);
echo.end('from the host');
console.log(`the guest echoes: ${await textOf(echo)}`);

// A service inside the virtual network that never touches a host socket.
network.listen(network.addresses.gateway, 9000, (stream) => stream.end('a service of the embedder'));
console.log(`the gateway says: ${await textOf(await guest.connect(network.addresses.gateway, 9000))}`);

guest.close();
await network.stop();
web.close();

async function textOf(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk;
  stream.end();
  return text;
}
