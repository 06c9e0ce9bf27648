"""One node with pods, a neighbour's endpoints and the world outside, for the role `services`.

    p1 10.1.0.2 --+                     +-- remote: 10.2.0.2 to .5, endpoints on node n2
    p2 10.1.0.3 --+-- node n1 (culvertd)+-- outside: 198.18.9.2
"""
import json
import os

from . import echo, netns
from .echo import TCP, family
from .pair import knows, marker
from .service_daemon import ServiceDaemon

ENDPOINTS = {"p1": ["10.1.0.2", "fd01::2"], "p2": ["10.1.0.3", "fd01::3"],
             "remote": [f"10.2.0.{i}" for i in range(2, 6)] + [f"fd02::{i}" for i in range(2, 6)]}
NODE_OF = {address: ("n2" if name == "remote" else "n1") for name, all in ENDPOINTS.items() for address in all}
PORTS = (8080, 8081)
CLIENTS = {"pod": ("p1", ["10.1.0.2", "fd01::2"]), "host": ("node", ["198.18.9.1", "fd18:9::1"]),
           "outside": ("outside", ["198.18.9.2", "fd18:9::2"])}
NODE_ADDRESSES = ["198.18.9.1", "fd18:9::1"]


class Balanced(ServiceDaemon):
    """The node, its daemon and everybody around it."""

    def __init__(self, spaces, folder, settings=None):
        self.spaces = {name: spaces.new(name) for name in ("node", "p1", "p2", "remote", "outside")}
        self.node = self.spaces["node"]
        super().__init__(self.node, folder, "n1", {"type": "dir", "dir": {"path": f"{folder}/objects"}}, settings)
        self._wire()
        self.responder = echo.Responder([(self.spaces[name], address, port) for name, all in ENDPOINTS.items()
                                         for address in all for port in PORTS])
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

    def close(self):
        self.stop(kill=True)
        self.responder.close()

    def set(self, objects):
        """Replaces all objects at once, and waits until they are programmed."""
        self.revision += 1
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.1.0.0/24", "fd01::/64"]},
                "status": {"addresses": [{"type": "InternalIP", "address": a} for a in NODE_ADDRESSES]}}
        path = f"{self.folder}/objects/all.json"
        with open(path + ".tmp", "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List", "items": [*objects, marker(self.revision), node]}, f)
        os.rename(path + ".tmp", path)
        self.await_(lambda: knows(self, self.revision))

    def trace(self, source, address, port, protocol=TCP):
        """What the daemon's evaluator says."""
        return self.get(f"/v1/services/trace?source={source}&address={address}&port={port}&protocol={protocol}")

    def connect(self, client, address, port, protocol=TCP, timeout=5.0):
        """What happens: ("forward", endpoint, whether the source was changed), ("reject",) or ("drop",)."""
        name, sources = CLIENTS[client]
        source = next(s for s in sources if family(s) == family(address))
        said = echo.ask(self.spaces[name], source, address, port, protocol, timeout)
        return (*said[:2], said[2] != source) if said[0] == "forward" else said


def slice_of(name, service, endpoints, ports, address_type="IPv4"):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": address_type,
            "metadata": {"name": name, "namespace": "test", "labels": {"kubernetes.io/service-name": service}},
            "ports": ports, "endpoints": endpoints}
