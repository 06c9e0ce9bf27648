"""One node with pods, a neighbour's endpoints and the world outside, for the role `services`.

    p1 10.1.0.2 --+                     +-- remote: 10.2.0.2 to .5, endpoints on node n2
    p2 10.1.0.3 --+-- node n1 (culvertd)+-- outside: 198.18.9.2
"""
import contextlib
import json
import os
import selectors
import socket
import subprocess
import threading

from . import cluster, netns

TCP, UDP = "TCP", "UDP"
ENDPOINTS = {"p1": ["10.1.0.2", "fd01::2"], "p2": ["10.1.0.3", "fd01::3"],
             "remote": [f"10.2.0.{i}" for i in range(2, 6)] + [f"fd02::{i}" for i in range(2, 6)]}
NODE_OF = {address: ("n2" if name == "remote" else "n1") for name, all in ENDPOINTS.items() for address in all}
PORTS = (8080, 8081)
CLIENTS = {"pod": ("p1", ["10.1.0.2", "fd01::2"]), "host": ("node", ["198.18.9.1", "fd18:9::1"]),
           "outside": ("outside", ["198.18.9.2", "fd18:9::2"])}
NODE_ADDRESSES = ["198.18.9.1", "fd18:9::1"]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Responder:
    """Answers on every endpoint with its own address and port, and the client's as it sees it."""

    def __init__(self, spaces):
        self.selector = selectors.DefaultSelector()
        self.wake, wakened = socket.socketpair()
        self.selector.register(wakened, selectors.EVENT_READ, None)
        for name, addresses in ENDPOINTS.items():
            with spaces[name].enter():
                for address in addresses:
                    for port in PORTS:
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
            _, peer = one.recvfrom(64)
            one.sendto(f"{name} {peer[0]}".encode(), peer)
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


class Balanced:
    """The node, its daemon and everybody around it."""

    def __init__(self, spaces, folder, settings=None):
        self.folder = str(folder)
        self.spaces = {name: spaces.new(name) for name in ("node", "p1", "p2", "remote", "outside")}
        self.node = self.spaces["node"]
        self._wire()
        self.responder = Responder(self.spaces)
        self.settings = settings or {}
        self.process = None
        os.makedirs(f"{self.folder}/objects")
        self.revision = 0

    def _wire(self):
        node = self.node
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            node.sysctl(key, 1)
        for key in ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit", "net/ipv4/conf/all/rp_filter",
                    "net/ipv4/conf/default/rp_filter"):
            node.sysctl(key, 0)
        for key in ("net/ipv4/icmp_msgs_per_sec", "net/ipv4/icmp_msgs_burst"):
            node.sysctl(key, 100000)
        for number, name in enumerate(("p1", "p2"), 2):
            self._join(name, f"10.1.0.{number}/32", f"fd01::{number}/128", number)
        self._join("remote", "198.18.2.2/24", "fd18:2::2/64", 0)
        self._join("outside", "198.18.9.2/24", "fd18:9::2/64", 0)
        for address in ENDPOINTS["remote"]:
            self.spaces["remote"].ip("address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
        node.ip("route", "add", "10.2.0.0/24", "via", "198.18.2.2")
        node.ip("route", "add", "fd02::/64", "via", "fd18:2::2")
        node.ip("route", "add", "default", "via", "198.18.9.2")
        node.ip("route", "add", "default", "via", "fd18:9::2")

    def _join(self, name, v4, v6, pod):
        there, inner4, inner6 = self.spaces[name], v4.split("/")[0], v6.split("/")[0]
        near4 = "169.254.1.1/32" if pod else inner4.rsplit(".", 1)[0] + ".1/24"
        near6 = f"fe80::{pod + 1}/128" if pod else inner6.rsplit("::", 1)[0] + "::1/64"
        netns.join(self.node, there, f"to-{name}", "eth0", [near4, near6], [v4, v6])
        gateway4, gateway6 = near4.split("/")[0], near6.split("/")[0]
        if pod:
            self.node.ip("route", "add", v4, "dev", f"to-{name}")
            self.node.ip("route", "add", v6, "dev", f"to-{name}")
        there.ip("route", "add", "default", "via", gateway4, "dev", "eth0", "onlink")
        there.ip("route", "add", "default", "via", gateway6, "dev", "eth0", "onlink")

    def start(self):
        config = {"nodeName": "n1", "roles": ["services"], "stateDir": f"{self.folder}/state",
                  "control": {"socket": f"{self.folder}/sock"}, "metrics": {"address": ""}, "health": {"address": ""},
                  "source": {"type": "dir", "dir": {"path": f"{self.folder}/objects"}}, "services": self.settings}
        with open(f"{self.folder}/culvertd.yaml", "w") as f:
            json.dump(config, f)
        with self.node.enter(), open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([f"{cluster.BIN}/culvertd", "--config", f"{self.folder}/culvertd.yaml"],
                                            stdout=log, stderr=log)

    def stop(self, kill=False):
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)
        self.process = None

    def close(self):
        self.stop(kill=True)
        self.responder.close()

    def log(self):
        with open(f"{self.folder}/log") as f:
            return f.read()

    def get(self, path):
        connection = cluster.UnixConnection(f"{self.folder}/sock")
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def set(self, objects):
        """Replaces all objects at once, and waits until they are programmed."""
        self.revision += 1
        marker = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "marker", "namespace": "test"},
                  "spec": {"clusterIPs": ["10.96.255.255"], "ports": [{"port": self.revision}]}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.1.0.0/24", "fd01::/64"]},
                "status": {"addresses": [{"type": "InternalIP", "address": a} for a in NODE_ADDRESSES]}}
        path = f"{self.folder}/objects/all.json"
        with open(path + ".tmp", "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List", "items": [*objects, marker, node]}, f)
        os.rename(path + ".tmp", path)
        cluster.wait_until(self._is_programmed, lambda: self.log()[-2000:])

    def _is_programmed(self):
        try:
            rows = self.get("/v1/services")["services"]
        except OSError:
            return False
        return any(r["service"] == "test/marker" and r["number"] == self.revision for r in rows)

    def trace(self, source, address, port, protocol=TCP):
        """What the daemon's evaluator says."""
        return self.get(f"/v1/services/trace?source={source}&address={address}&port={port}&protocol={protocol}")

    def connect(self, client, address, port, protocol=TCP, timeout=0.4):
        """What happens: ("forward", endpoint, whether the source was changed), ("reject",) or ("drop",)."""
        name, sources = CLIENTS[client]
        source = next(s for s in sources if family(s) == family(address))
        with self.spaces[name].enter():
            one = socket.socket(family(address), socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM)
        with one:
            one.settimeout(timeout)
            try:
                one.bind((source, 0))
                one.connect((address, port))
                if protocol == UDP:
                    with contextlib.suppress(PermissionError):  # this host's own: recv() says why
                        one.send(b"?")
                endpoint, number, seen = one.recv(128).decode().split()
            except ConnectionRefusedError:
                return ("reject",)
            except (socket.timeout, PermissionError):  # the latter: dropped before it left this host
                return ("drop",)
        shown = f"[{endpoint}]:{number}" if ":" in endpoint else f"{endpoint}:{number}"
        return ("forward", shown, seen != source)


def slice_of(name, service, endpoints, ports, address_type="IPv4"):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": address_type,
            "metadata": {"name": name, "namespace": "test", "labels": {"kubernetes.io/service-name": service}},
            "ports": ports, "endpoints": endpoints}
