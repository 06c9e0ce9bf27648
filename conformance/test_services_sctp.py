"""SCTP through the role `services`. This machine's own kernel lacks the protocol: in the virtual machine only."""
import contextlib
import itertools
import socket
import threading

import pytest

from lib import pair
from lib.pair import FAMILIES, POD, V4, V6, place, service, slices

pytestmark = pytest.mark.vm

ALL_KINDS = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalIP")
CLIENTS = ("a", "n1", "outside")
RECVERR = {V4: (socket.IPPROTO_IP, 11), V6: (socket.IPPROTO_IPV6, 25)}  # IP_RECVERR, IPV6_RECVERR: uapi/linux/in.h, in6.h


def sctp(space, f):
    with space.enter():
        return socket.socket(socket.AF_INET6 if f == V6 else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)


def ask(two, client, address, port, timeout=20.0):
    f = pair.family_of(address)
    with sctp(two.spaces[client], f) as one:
        one.settimeout(timeout)
        one.setsockopt(*RECVERR[f], 1)  # without, SCTP takes a port that is unreachable for one that may come
        try:
            one.connect((address, port))
            return one.recv(100).decode()
        except ConnectionRefusedError:
            return "reject"
        except TimeoutError:
            return "drop"


@contextlib.contextmanager
def greeting(two, pod):
    """A server on the pod that says its name."""
    done = threading.Event()

    def serve(server):
        while not done.is_set():
            with contextlib.suppress(TimeoutError), server.accept()[0] as peer:
                peer.sendall(pod.encode())

    servers = [sctp(two.spaces[pod], f) for f in FAMILIES]
    threads = [threading.Thread(target=serve, args=[server]) for server in servers]
    for f, server in zip(FAMILIES, servers):
        server.bind((POD[pod][f], 8080))
        server.listen(8)
        server.settimeout(0.2)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread, server in zip(threads, servers):
            thread.join()
            server.close()


def of_sctp(one, **port):
    """The same object with SCTP's port instead of the others."""
    port = {"name": "sctp", "protocol": "SCTP", **port}
    return {**one, "spec": {**one["spec"], "ports": [port]}} if one["kind"] == "Service" else {**one, "ports": [port]}


def test_sctp_is_forwarded_rejected_and_dropped_as_tcp_is(spaces, tmp_path):
    two = pair.Pair(spaces, tmp_path / "pair").start()
    endpoints = [of_sctp(one, port=8080) for one in slices(1, "c")]
    try:
        with greeting(two, "c"):
            two.set(of_sctp(service(1), port=80, nodePort=30001), *endpoints)
            for kind, client, f in itertools.product(ALL_KINDS, CLIENTS, FAMILIES):
                assert ask(two, client, *place(kind, 1, f)) == "c", (kind, client, f)
            two.set(of_sctp(service(1, externalTrafficPolicy="Local"), port=80, nodePort=30001), *endpoints)
            for f in FAMILIES:
                assert ask(two, "outside", *place("NodePort", 1, f), timeout=2) == "drop", f
                assert ask(two, "outside", *place("NodePort", 1, f, "n2")) == "c", f
            two.set(of_sctp(service(1), port=80, nodePort=30001))
            for kind, client, f in itertools.product(("ClusterIP", "NodePort"), CLIENTS, FAMILIES):
                assert ask(two, client, *place(kind, 1, f)) == "reject", (kind, client, f)
    finally:
        two.close()
