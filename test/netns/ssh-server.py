"""An ssh server for a test: no shells, only forwards to unix sockets. Arguments: host key, file of allowed keys."""
import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def unix_connection_requested(self, dest_path):
        return True


async def main():
    key, allowed = sys.argv[1:]
    await asyncssh.listen('', 22, server_factory=Server, server_host_keys=[key], authorized_client_keys=allowed)
    print('listening', flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
