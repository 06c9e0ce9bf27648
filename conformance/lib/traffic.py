"""Real packets between namespaces. A socket belongs to the namespace it was made in."""
import contextlib
import socket
import subprocess


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


def ping(ns, address, size=None, count=1, wait=2):
    """True when every echo came back; with a size, unfragmented."""
    command = ["ping", "-n", "-q", "-c", str(count), "-W", str(wait), "-i", "0.2"]
    if size is not None:
        command += ["-M", "do", "-s", str(size)]
    with ns.enter():
        return subprocess.run([*command, address], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
