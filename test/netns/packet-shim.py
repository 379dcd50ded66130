"""A TAP's frames over a unix socket of packets, as vfkit (datagrams, bound to a path of its own) and bess (seqpacket) carry them.

packet-shim.py vfkit|bess TAP SOCKET [OWN]: makes TAP in the network namespace in which it runs; prints "attached".
"""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000

kind, tap, path = sys.argv[1:4]
device = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
packets = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "vfkit" else socket.SOCK_SEQPACKET)
if kind == "vfkit":
    packets.bind(sys.argv[4])
packets.connect(path)
if kind == "vfkit":
    packets.send(b"VFKT")
print("attached", flush=True)

while True:
    for source in select.select([device, packets], [], [])[0]:
        if source is device:
            try:
                packets.send(os.read(device, 65536))
            except BlockingIOError:
                pass
            continue
        frame = packets.recv(65536)
        if not frame:
            sys.exit(0)
        os.write(device, frame)
