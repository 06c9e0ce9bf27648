"""The program's side of a tap."""
import contextlib
import fcntl
import os
import select
import socket
import struct
import time

# uapi/linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 2, 0x1000, 0x0100
ETH_P_ARP = 0x0806


def attach(fd, name="eth0", flags=IFF_TAP | IFF_NO_PI):
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))


@contextlib.contextmanager
def opened(ns, name="eth0", flags=IFF_TAP | IFF_NO_PI):
    """The program's side of the tap: a file of Ethernet frames."""
    with ns.enter():
        fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        attach(fd, name, flags)
        yield fd
    finally:
        os.close(fd)


def answer(fd, question, seconds=5.0):
    """The first frame back to the question's sender; a tap takes a moment to run after it was opened."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        os.write(fd, question)
        while select.select([fd], [], [], 0.2)[0]:
            frame = os.read(fd, 2000)
            if frame[:6] == question[6:12]:
                return frame
    return None


def arp(operation, mac, address, target_mac, target):
    return (target_mac + mac + struct.pack("!HHHBBH", ETH_P_ARP, 1, 0x0800, 6, 4, operation) + mac + socket.inet_aton(address)
            + target_mac + socket.inet_aton(target))


def asks(fd, address, asker="198.18.0.200", mac=bytes.fromhex("020000000042")):
    """A machine behind the tap asks for the address; the frame that answers, or None."""
    return answer(fd, arp(1, mac, asker, b"\xff" * 6, address))
