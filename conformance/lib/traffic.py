"""Real packets between namespaces. A socket belongs to the namespace it was made in."""
import contextlib
import select
import socket
import subprocess
import time


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def listener(ns, address, port=8080):
    """A TCP server inside `ns`; yields the listening socket."""
    with ns.enter():
        server = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(8)
        server.settimeout(5)
        yield server
    finally:
        server.close()


def connect(ns, server, address, port=8080, timeout=3.0):
    """Connect from `ns` and exchange a byte; returns the client address that the server saw."""
    with ns.enter():
        client = socket.socket(_family(address), socket.SOCK_STREAM)
    with client:
        client.settimeout(timeout)
        client.connect((address, port))
        peer, seen = server.accept()
        with peer:
            peer.settimeout(timeout)
            client.sendall(b"?")
            assert peer.recv(1) == b"?"
            peer.sendall(b"!")
            assert client.recv(1) == b"!"
        return seen[0]


def reach(source, target, address, port=8080, timeout=3.0):
    """TCP from namespace `source` to `address` in namespace `target`; the source address as seen there."""
    with listener(target, address, port) as server:
        return connect(source, server, address, port, timeout)


def throughput(source, target, address, port=8080, seconds=2.0):
    """Bits per second that TCP from `source` delivers to `address` in namespace `target`."""
    with listener(target, address, port) as server:
        with source.enter():
            client = socket.socket(_family(address), socket.SOCK_STREAM)
        with client:
            client.connect((address, port))
            client.settimeout(0.2)
            peer, _ = server.accept()
            with peer:
                return _drain(client, peer, seconds)


def _drain(client, peer, seconds):
    """What arrives while the sender always has more to send."""
    client.setblocking(False)
    peer.setblocking(False)
    received, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        readable, writable, _ = select.select([peer], [client], [], 0.1)
        if writable:
            client.send(bytes(1 << 15))
        if readable:
            received += len(peer.recv(1 << 18))
    return received * 8 / (time.monotonic() - began)


def ping(ns, address, size=None, count=1, wait=2):
    """True when every echo came back; with a size, unfragmented."""
    command = ["ping", "-n", "-q", "-c", str(count), "-W", str(wait), "-i", "0.2"]
    if size is not None:
        command += ["-M", "do", "-s", str(size)]
    with ns.enter():
        return subprocess.run([*command, address], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0


@contextlib.contextmanager
def datagrams(ns, address, port=8080):
    """A UDP socket of `ns`; port 0 picks one."""
    with ns.enter():
        sock = socket.socket(_family(address), socket.SOCK_DGRAM)
    with sock:
        sock.bind((address, port))
        sock.settimeout(3)
        yield sock


def ask(client, server, address, port, timeout=1.0):
    """A datagram from one open socket that must come out of the other, and an answer; the client as the server sees it.

    A bridge may still be opening the port when ADD returns: a client asks again.
    """
    server.settimeout(timeout / 4)
    for attempt in range(4):
        client.sendto(b"?", (address, port))
        try:
            data, seen = server.recvfrom(16)
            break
        except TimeoutError:
            if attempt == 3:
                raise
    assert data == b"?"
    server.sendto(b"!", seen)
    client.settimeout(timeout)
    answer, who = client.recvfrom(16)
    assert answer == b"!" and who[:2] == (address, port), "the answer must come from where the question went"
    return seen[0]


def refused_or_lost(ns, address, port, timeout=0.5):
    """True when a TCP connection cannot be made."""
    with ns.enter():
        client = socket.socket(_family(address), socket.SOCK_STREAM)
    with client:
        client.settimeout(timeout)
        try:
            client.connect((address, port))
        except OSError:
            return True
        return False
