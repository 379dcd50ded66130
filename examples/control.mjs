// The control API mounted in a server of your own, and the typed client of it:
//
//   node examples/control.mjs

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNetwork } from 'netproxy';
import { createApi } from 'netproxy/api';
import { connectApi } from 'netproxy/client';
import { ScriptedGuest, memoryLink, realScheduler } from 'netproxy/testing';

const network = createNetwork({ policy: { rules: ['deny 10.0.0.0/8'] } }, { native: false });
await network.start();
const link = memoryLink(realScheduler);
network.attach(link.network, { name: 'build' });
const guest = new ScriptedGuest(link.guest, { name: 'build' });
await guest.dhcp();

// Two doors: a unix socket for whoever runs this, and a page of a server that may only look.
const folder = mkdtempSync(path.join(tmpdir(), 'netproxy-control-'));
const api = createApi(network);
const address = await api.listen(`unix:${path.join(folder, 'api.sock')}`);
const server = createServer(api.handler('read'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port: page } = server.address();

const client = connectApi({ address });
const { version, features } = await client.version();
console.log(`netproxy ${version} with ${features.join(', ')}`);

const port = await client.publish('build@127.0.0.1:0:80');

// Those that happened already come first, so that nothing is missed.
const events = client.events({ types: ['published', 'unpublished'], last: 256 });
console.log(`published ${port.spec}; the event says ${(await events.next()).value?.event ?? 'nothing'}`);

const ports = await fetch(`http://127.0.0.1:${page}/v1/ports`).then((answer) => answer.json());
console.log(`a page that may look shows ${ports.items.length} port`);
const refused = await fetch(`http://127.0.0.1:${page}/v1/ports/${port.id}`, { method: 'DELETE' });
console.log(`and may not withdraw it: ${refused.status} ${(await refused.json()).detail}`);

for await (const { name, ip, mac } of client.guests()) console.log(`guest ${name}: ${ip}, ${mac}`);
console.log(`10.1.2.3 from build: ${(await client.explain({ host: '10.1.2.3', guest: 'build' })).why}`);

await client.unpublish(port.id);
console.log(`then ${(await events.next()).value?.event ?? 'nothing'}`);
await events.return(undefined);

client.close();
server.close();
api.close();
guest.close();
await network.stop();
rmSync(folder, { recursive: true });
