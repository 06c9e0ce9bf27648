"""Servers that say who they are and whom they see, and clients that say what became of their packets."""
import contextlib
import errno
import selectors
import socket
import threading

TCP, UDP = "TCP", "UDP"
LARGEST = 65507  # bytes of a UDP datagram over IPv4


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def shown(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Responder:
    """Answers at every (namespace, address, port) with that address and port, and the client's as it sees it.

    An answer to a datagram is at least as long as the question.
    """

    def __init__(self, places):
        self.selector = selectors.DefaultSelector()
        self.wake, wakened = socket.socketpair()
        self.selector.register(wakened, selectors.EVENT_READ, None)
        for space, address, port in places:
            with space.enter():
                self._listen(address, port, socket.SOCK_STREAM)
                self._listen(address, port, socket.SOCK_DGRAM)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _listen(self, address, port, kind):
        one = socket.socket(family(address), kind)
        one.bind((address, port))
        if kind == socket.SOCK_STREAM:
            one.listen(64)
        self.selector.register(one, selectors.EVENT_READ, f"{address} {port}")

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                with contextlib.suppress(OSError):
                    self._answer(key.fileobj, key.data)

    @staticmethod
    def _answer(one, name):
        if one.type == socket.SOCK_DGRAM:
            question, peer = one.recvfrom(LARGEST)
            one.sendto(f"{name} {peer[0]}".ljust(len(question)).encode(), peer)
            return
        connection, peer = one.accept()
        with connection:
            connection.sendall(f"{name} {peer[0]}".encode())

    def close(self):
        self.wake.send(b".")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.wake.close()


def ask(space, source, address, port, protocol=TCP, timeout=5.0, size=1):
    """What happens to a connection's first packet: ("forward", endpoint, client as the endpoint sees it),
    ("reject",), ("drop",) or, translated or not, ("unreachable",). A datagram has `size` bytes, and so must its answer."""
    with space.enter():
        one = socket.socket(family(address), socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM)
    with one:
        one.settimeout(timeout)
        try:
            one.bind((source, 0))
            one.connect((address, port))
            if protocol == UDP:
                with contextlib.suppress(PermissionError):  # this host's own: recv() says why
                    one.send(b"?" * size)
            answer = one.recv(LARGEST)
        except ConnectionRefusedError:
            return ("reject",)
        except (socket.timeout, PermissionError):  # the latter: dropped before it left this host
            return ("drop",)
        except OSError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.ENETUNREACH):
                raise
            return ("unreachable",)
    endpoint, number, seen = answer.decode().split()
    assert protocol == TCP or len(answer) >= size, f"{len(answer)} bytes came back of {size}"
    return ("forward", shown(endpoint, number), seen)


@contextlib.contextmanager
def listening(space, port):
    """A host's own TCP server on all its addresses, of both families."""
    with space.enter():
        server = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    with server:
        yield


def connects(space, address, port):
    """Raises OSError if there is no connection."""
    with space.enter():
        socket.create_connection((address, port), timeout=5).close()
