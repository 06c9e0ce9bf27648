"""Traffic that goes on for a whole test: TCP streams that must not break, and requests that must all be answered."""
import collections
import itertools
import selectors
import socket
import threading
import time

from .echo import family

MESSAGE = 8          # bytes: the number of a stream's round
PATIENCE = 60.0      # seconds without an answer until a stream or a request counts as lost; nothing takes that long


class EchoServers:
    """What comes goes back, at every (namespace, address, port), TCP and UDP."""

    def __init__(self, places):
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        for space, address, port in places:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with space.enter():
                    one = socket.socket(family(address), kind)
                one.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    one.listen(1024)
                one.setblocking(False)
                self.selector.register(one, selectors.EVENT_READ, self._accept if kind == socket.SOCK_STREAM else self._answer)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            for key, _ in self.selector.select(0.2):
                key.data(key.fileobj)

    def _accept(self, server):
        one, _ = server.accept()
        one.setblocking(False)
        self.selector.register(one, selectors.EVENT_READ, self._echo)

    def _echo(self, one):
        try:
            data = one.recv(4096)
        except ConnectionError:
            data = b""
        if data:
            one.sendall(data)
        else:
            self.selector.unregister(one)
            one.close()

    @staticmethod
    def _answer(one):
        data, peer = one.recvfrom(64)
        one.sendto(data, peer)

    def close(self):
        self.stopping = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


class Streams:
    """Many TCP streams in one thread: each sends the number of its round, and the next once that has come back."""

    PAUSE = 1.0  # seconds between two rounds of a stream: a thousand streams are not to take a whole processor

    def __init__(self, connections):
        self.rounds = dict.fromkeys(connections, 0)
        self.names = {one: one.getpeername()[:2] for one in connections}  # which a broken one has forgotten
        self.errors = []
        self.selector = selectors.DefaultSelector()
        self.due = collections.deque((0.0, one) for one in connections)
        for one in connections:
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ)
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                self._send(self.due.popleft()[1])
            for key, _ in self.selector.select(0.05):
                self._receive(key.fileobj)

    def _send(self, one):
        try:
            one.sendall(self.rounds[one].to_bytes(MESSAGE, "big"))
        except OSError as error:
            self._broken(one, error)

    def _receive(self, one):
        try:
            data = one.recv(MESSAGE)
        except OSError as error:
            return self._broken(one, error)
        if int.from_bytes(data, "big") != self.rounds[one] or len(data) != MESSAGE:
            return self._broken(one, f"{data!r} in round {self.rounds[one]}")
        self.rounds[one] += 1
        self.due.append((time.monotonic() + self.PAUSE, one))

    def _broken(self, one, why):
        self.errors.append(f"stream to {self.names[one]}: {why!r}")
        self.selector.unregister(one)

    def move_on(self):
        """Every stream has another answer to what it sends from now on."""
        wanted, end = {one: count + 2 for one, count in self.rounds.items()}, time.monotonic() + PATIENCE
        while behind := [one for one, count in wanted.items() if self.rounds[one] < count]:
            assert not self.errors, f"{len(self.errors)} errors: {self.errors[:5]}"
            assert time.monotonic() < end, f"{len(behind)} streams stand still: {[self.names[one] for one in behind[:5]]}"
            time.sleep(0.2)
        assert not self.errors, f"{len(self.errors)} errors: {self.errors[:5]}"

    def close(self):
        self.stopping = True
        self.thread.join()
        for one in self.rounds:
            one.close()


class Requests:
    """One request after the other, each from a new socket to the next place; every one must be answered."""

    def __init__(self, space, places, kind):
        self.space, self.kind = space, kind
        self.places = itertools.cycle(places)
        self.answered, self.errors = 0, []
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            place = next(self.places)
            try:
                self._ask(place)
                self.answered += 1
            except OSError as error:
                self.errors.append(f"{self.kind.name} {place} after {self.answered} answers: {error!r}")
            time.sleep(0.02)

    def _ask(self, place):
        with self.space.enter():
            one = socket.socket(family(place[0]), self.kind)
        with one:
            one.settimeout(PATIENCE)
            one.connect(place)
            one.send(b"?")
            if one.recv(1) != b"?":
                raise OSError("another answer")

    def move_on(self):
        before, end = self.answered, time.monotonic() + PATIENCE
        while self.answered < before + 8 and not self.errors:
            assert time.monotonic() < end, f"only {self.answered - before} answers"
            time.sleep(0.02)
        assert not self.errors, f"{len(self.errors)} errors: {self.errors[:5]}"

    def close(self):
        self.stopping = True
        self.thread.join()
