"""Two nodes with pods, each with a culvertd in the role `services`, and a client outside.

    a 10.1.0.2 --+-- n1 198.18.1.11 --(router)-- n2 198.18.2.11 --+-- c 10.2.0.2
    b 10.1.0.3 --+                        |                       +-- d 10.2.0.3
                              outside 198.18.9.2

The router knows all addresses, so that nothing depends on masquerading that a Service does not ask for. Cluster IPs
and the lower half of the VIPs lead to n1, the upper half to n2. Each node has an address of its own besides the one
on the wire (`apart`): what it sends from there, and is seen from elsewhere, was masqueraded.
"""
import json
import os

from . import echo
from .service_daemon import ServiceDaemon

V4, V6 = "IPv4", "IPv6"
FAMILIES = (V4, V6)
PODS = {"a": ("n1", 2), "b": ("n1", 3), "c": ("n2", 2), "d": ("n2", 3)}
NUMBER = {"n1": 1, "n2": 2}
PORTS = (8080, 8081)
OUTSIDE = {V4: "198.18.9.2", V6: "fd18:9::2"}
NODE = {name: {V4: f"198.18.{n}.11", V6: f"fd18:{n}::11"} for name, n in NUMBER.items()}
APART = {name: {V4: f"10.255.0.{n}", V6: f"fd55::{n}"} for name, n in NUMBER.items()}
POD = {pod: {V4: f"10.{NUMBER[node]}.0.{host}", V6: f"fd0{NUMBER[node]}::{host}"} for pod, (node, host) in PODS.items()}
VIPS = {"n1": {V4: "203.0.113.{}", V6: "fd20:1::{}"}, "n2": {V4: "203.0.113.12{}", V6: "fd20:2::{}"}}
ROUTES = {"n1": ["10.1.0.0/24", "fd01::/64", *APART["n1"].values(), "203.0.113.0/25", "fd20:1::/64", "10.96.0.0/16", "fd96::/64"],
          "n2": ["10.2.0.0/24", "fd02::/64", *APART["n2"].values(), "203.0.113.120/29", "fd20:2::/64"]}
CLUSTER_IPS = {V4: "10.96.0.{}", V6: "fd96::{}"}


def family_of(address):
    return V6 if ":" in address else V4


class Wiring:
    """Links, addresses and routes of all namespaces, set up with one process each: a test is not to wait for a hundred."""

    def __init__(self, spaces):
        self.spaces = spaces
        self.links, self.rest = ({name: [] for name in spaces} for _ in range(2))
        self.wires = 0

    def ip(self, name, *lines):
        self.rest[name] += lines

    def join(self, near, far, near_name, far_name, near_addresses, far_addresses, gateways=()):
        """A wire whose ends know each other, so that nobody has to ask; `gateways`: what else the near end answers for."""
        self.wires += 1
        macs = [f"02:00:00:00:{self.wires:02x}:{end:02x}" for end in (1, 2)]
        self.links[near].append(f"link add {near_name} address {macs[0]} type veth peer name {far_name} address {macs[1]} "
                                f"netns {self.spaces[far].name}")
        ends = [(near, near_name, near_addresses, far_addresses, macs[1]), (far, far_name, far_addresses, [*near_addresses, *gateways], macs[0])]
        for name, device, own, others, mac in ends:
            self.ip(name, *(address_line(a, device) for a in own), f"link set {device} up",
                    *(f"neigh replace {a.split('/')[0]} lladdr {mac} dev {device}" for a in others))

    def default_routes(self, name, *gateways, options=""):
        self.ip(name, *(f"route add default via {gateway} dev eth0 {options}" for gateway in gateways))

    def run(self):
        for lines in (self.links, self.rest):
            for name, of_space in lines.items():
                if of_space:
                    self.spaces[name].run("ip", "-batch", "-", stdin="\n".join(of_space) + "\n")


def address_line(address, device):
    return f"address add {address} dev {device}" + (" nodad" if ":" in address else "")


class Pair:
    def __init__(self, spaces, folder, settings=None, pod_cidrs=True, source=None):
        self.folder = str(folder)
        os.makedirs(f"{self.folder}/objects")
        self.spaces = {name: spaces.new(name) for name in ("router", "n1", "n2", *PODS, "outside")}
        self.pod_cidrs = pod_cidrs
        self._wire()
        source = source or {"type": "dir", "dir": {"path": f"{self.folder}/objects"}}
        self.daemons = {name: ServiceDaemon(self.spaces[name], f"{self.folder}/{name}", name, source, settings) for name in NODE}
        self.responder = echo.Responder([(self.spaces[pod], POD[pod][f], port) for pod in PODS for f in FAMILIES for port in PORTS])
        self.revision = 0

    def _wire(self):
        wiring = Wiring(self.spaces)
        for name in NODE:
            self._wire_node(wiring, name)
        wiring.join("router", "outside", "world", "eth0", ["198.18.9.1/24", "fd18:9::1/64"], ["198.18.9.2/24", "fd18:9::2/64"])
        wiring.default_routes("outside", "198.18.9.1", "fd18:9::1")
        for pod in PODS:
            self._wire_pod(wiring, pod)
        for name in ("router", *NODE):
            self._forwards(self.spaces[name])
        wiring.run()

    @staticmethod
    def _forwards(space):
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            space.sysctl(key, 1)
        for key in ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"):
            space.sysctl(key, 0)
        for key in ("net/ipv4/icmp_msgs_per_sec", "net/ipv4/icmp_msgs_burst"):
            space.sysctl(key, 100000)

    @staticmethod
    def _wire_node(wiring, name):
        n = NUMBER[name]
        wiring.join("router", name, f"to-{name}", "eth0", [f"198.18.{n}.1/24", f"fd18:{n}::1/64"], [f"{NODE[name][V4]}/24", f"{NODE[name][V6]}/64"])
        wiring.default_routes(name, f"198.18.{n}.1", f"fd18:{n}::1")
        # Not on lo, with whose addresses the kernel would masquerade.
        wiring.ip(name, "link add apart type bridge", "link set apart up", *(address_line(APART[name][f], "apart") for f in FAMILIES))
        for network in ROUTES[name]:
            f = family_of(network)
            wiring.ip("router", f"route add {network} via {NODE[name][f]}")

    @staticmethod
    def _wire_pod(wiring, pod):
        """As a CNI does that routes: the node has no address on the pod's wire, and answers for its gateway."""
        node, addresses, gateways = PODS[pod][0], POD[pod].values(), ("169.254.1.1", "fe80::1")
        wiring.join(node, pod, f"to-{pod}", "eth0", [], addresses, gateways)
        wiring.default_routes(pod, *gateways, options="onlink")
        wiring.ip(node, *(f"route add {address} dev to-{pod}" for address in addresses))

    def back_through_n1(self):
        """What n2's pods send outside takes the way by which it came, though nobody has masqueraded it."""
        for version, f, network in (("-4", V4, "198.18.9.0/24"), ("-6", V6, "fd18:9::/64")):
            self.spaces["router"].ip(version, "rule", "add", "iif", "to-n2", "table", "100")
            self.spaces["router"].ip(version, "route", "add", network, "via", NODE["n1"][f], "table", "100")

    def start(self):
        for daemon in self.daemons.values():
            daemon.start()
        return self

    def close(self):
        for daemon in self.daemons.values():
            daemon.stop(kill=True)
        self.responder.close()

    def node_object(self, name):
        n = NUMBER[name]
        spec = {"podCIDRs": [f"10.{n}.0.0/24", f"fd0{n}::/64"]} if self.pod_cidrs else {}
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec,
                "status": {"addresses": [{"type": "InternalIP", "address": NODE[name][f]} for f in FAMILIES]}}

    def put(self, objects, file="all.json"):
        """These objects instead of those that were in the file."""
        path = f"{self.folder}/objects/{file}"
        with open(path + ".tmp", "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, f)
        os.rename(path + ".tmp", path)

    def set(self, *objects):
        """Replaces all objects at once, and waits until every daemon that runs has programmed them."""
        self.revision += 1
        self.put([*objects, marker(self.revision), *(self.node_object(name) for name in NODE)])
        for daemon in self.daemons.values():
            if daemon.process:
                daemon.await_(lambda d=daemon: knows(d, self.revision))

    def ask(self, client, address, port=80, protocol=echo.TCP, source=None, **how):
        """From a pod, a node's address apart from its others, or outside."""
        f = family_of(address)
        own = source or (OUTSIDE[f] if client == "outside" else {**APART, **POD}[client][f])
        return echo.ask(self.spaces[client], own, address, port, protocol, **how)


def marker(revision):
    """A Service of which the number says which objects are programmed."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "marker", "namespace": "test"},
            "spec": {"clusterIPs": ["10.96.255.255"], "ports": [{"port": revision}]}}


def knows(daemon, revision):
    return any(r["service"] == "test/marker" and r["number"] == revision for r in daemon.rows())


def service(number, nodes=("n1",), name=None, **spec):
    """Service s<number>: cluster IPs, node port 30000 + number, an external IP and a load balancer's VIP at each of `nodes`."""
    ports = [{"name": protocol.lower(), "protocol": protocol, "port": 80, "nodePort": 30000 + number} for protocol in (echo.TCP, echo.UDP)]
    status = {"loadBalancer": {"ingress": [{"ip": vip("LoadBalancer", number, f, node)} for f in FAMILIES for node in nodes]}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name or f"s{number}", "namespace": "test"},
            "spec": {"type": "LoadBalancer", "clusterIPs": [CLUSTER_IPS[f].format(number) for f in FAMILIES], "ports": ports,
                     "externalIPs": [vip("ExternalIP", number, f, node) for f in FAMILIES for node in nodes], **spec}, "status": status}


def vip(kind, number, f, node="n1"):
    """A Service's address of this kind; numbers up to 3."""
    return VIPS[node][f].format(number if kind == "ExternalIP" else number + 3)


def place(kind, number, f, node="n1"):
    """Where a Service is reached: address and port."""
    if kind == "NodePort":
        return NODE[node][f], 30000 + number
    return (CLUSTER_IPS[f].format(number) if kind == "ClusterIP" else vip(kind, number, f, node)), 80


TERMINATING = {"ready": False, "serving": True, "terminating": True}  # conditions of an endpoint that serves yet


def slices(number, *pods, port=8080, name=None, conditions=None):
    """Both families' slices of Service s<number>, with the endpoints on these pods."""
    name = name or f"s{number}"
    ports = [{"name": protocol.lower(), "protocol": protocol, "port": port} for protocol in (echo.TCP, echo.UDP)]
    return [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f,
             "metadata": {"name": f"{name}-{f.lower()}", "namespace": "test", "labels": {"kubernetes.io/service-name": name}},
             "ports": ports, "endpoints": [{"addresses": [POD[pod][f]], "nodeName": PODS[pod][0], "conditions": conditions or {}}
                                           for pod in pods]} for f in FAMILIES]


def backend(pod, f, port=8080):
    """An endpoint as `ask` shows it."""
    return echo.shown(POD[pod][f], port)
