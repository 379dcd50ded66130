// Two guests on one network, a port of the host published into the second one, and a bad cable in between:
//
//   node examples/publish.mjs

import { createNetwork } from 'netproxy';
import { ScriptedGuest, faultyLink, memoryLink, realScheduler, systemRandom } from 'netproxy/testing';

const network = createNetwork({}, { native: false });
await network.start();

// Docker's syntax; port 0 lets the host choose. Nobody is there yet: the port waits for guest two.
const published = await network.publish('two@127.0.0.1:0:80/tcp');

const guests = [];
for (const name of ['one', 'two']) {
  const link = memoryLink(realScheduler);
  const cable = faultyLink(link.network, { loss: 0.02, delay: 1 }, realScheduler, systemRandom());
  network.attach(cable, { name });
  const guest = new ScriptedGuest(link.guest, { name });
  console.log(`${name} is ${(await guest.dhcp()).ip}`);
  guests.push(guest);
}
const [one, two] = guests;

// Guests reach each other over the switch.
console.log(`one pings two in ${(await pinged(one, two.address)).toFixed(1)} ms`);

const body = 'from guest two';
two.listen(80, (socket) => {
  socket.once('data', () => socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
});
const answer = await fetch(`http://127.0.0.1:${published.port}/`);
console.log(`http://127.0.0.1:${published.port}/ says: ${await answer.text()}`);

for (const { name, ip, mac } of network.guests()) console.log(`guest ${name}: ${ip}, ${mac}`);
published.close();
for (const guest of guests) guest.close();
await network.stop();

/** The cable loses frames: try until one comes through. */
async function pinged(from, ip) {
  for (;;) {
    const ms = await from.ping(ip).catch(() => undefined);
    if (ms !== undefined) return ms;
  }
}
