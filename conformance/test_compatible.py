"""Nodes that still run flannel or Calico, beside ours: theirs are programmed by hand, as those would from the Node objects."""
import json
import os

import pytest

from lib import cluster, traffic
from lib.cluster import V4, V6, wait_until

FLANNEL, CALICO = "flannel.alpha.coreos.com/", "projectcalico.org/"
OLD_MAC = {V4: "9a:11:11:11:11:11", V6: "9a:66:66:66:66:66"}  # random ones, as flannel makes them


class Theirs:
    """What flannel and Calico have in common: a VXLAN device, and for each other node a neighbour, a forwarding entry, a route."""

    def __init__(self, node, families):
        self.node, self.families = node, families

    def base(self, node, family):
        return node.pods[family].split("/")[0]

    def device(self, family):
        return {V4: self.v4, V6: self.v6}[family]

    def make_device(self, mac):
        for family in self.families:
            self.node.ns.ip("link", "add", self.device(family), "address", mac[family], "type", "vxlan", "id", str(self.vni), "dev", "eth0",
                            "local", self.node.addresses[family], "dstport", str(self.port), "nolearning")
            self.node.ns.ip("address", "add", f"{self.base(self.node, family)}/{32 if family == V4 else 128}", "dev", self.device(family))
            self.node.ns.ip("link", "set", self.device(family), "mtu", "1430", "up")
        self.node.ns.sysctl("net/ipv4/ip_forward", 1)
        self.node.ns.sysctl("net/ipv6/conf/all/forwarding", 1)

    def add_peer(self, other, annotations):
        for family in self.families:
            mac, outer, gateway = self.read(annotations, family, other)
            device, ns = self.device(family), self.node.ns
            ns.ip("neigh", "replace", gateway, "lladdr", mac, "dev", device, "nud", "permanent")
            ns.run("bridge", "fdb", "replace", mac, "dev", device, "dst", outer, "self", "permanent")
            ns.ip(f"-{family}", "route", "replace", other.pods[family], "via", gateway, "dev", device, "onlink")

    def write_conflist(self):
        os.makedirs(os.path.dirname(self.node.conflist_path))
        ranges = [[{"subnet": self.node.pods[f]}] for f in self.families]
        with open(self.node.conflist_path, "w") as f:
            json.dump({"cniVersion": "1.0.0", "name": "theirs", "plugins": [{"type": "ptp", "mtu": 1430, "ipam": {
                "type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0" if f == V4 else "::/0"} for f in self.families]}}]}, f)


class Flannel(Theirs):
    v4, v6, vni, port = "flannel.1", "flannel-v6.1", 1, 8472
    settings = {"flannel": True, "encapsulation": "vxlan", "tunnelMode": "Always"}

    def read(self, annotations, family, other):
        assert annotations[FLANNEL + "kube-subnet-manager"] == "true" and annotations[FLANNEL + "backend-type"] == "vxlan"
        data = json.loads(annotations[FLANNEL + ("backend-data" if family == V4 else "backend-v6-data")])
        assert data["VNI"] == 1
        return data["VtepMAC"], annotations[FLANNEL + ("public-ip" if family == V4 else "public-ipv6")], self.base(other, family)

    def annotations(self, mac):
        found = {FLANNEL + "kube-subnet-manager": "true", FLANNEL + "backend-type": "vxlan"}
        for family in self.families:
            found[FLANNEL + ("backend-data" if family == V4 else "backend-v6-data")] = json.dumps({"VNI": 1, "VtepMAC": mac[family]})
            found[FLANNEL + ("public-ip" if family == V4 else "public-ipv6")] = self.node.addresses[family]
        return found


class Calico(Theirs):
    v4, v6, vni, port = "vxlan.calico", "vxlan-v6.calico", 4096, 4789
    settings = {"calico": True, "encapsulation": "vxlan", "tunnelMode": "Always"}

    def read(self, annotations, family, other):
        v4 = family == V4
        outer = annotations[CALICO + ("IPv4Address" if v4 else "IPv6Address")]
        assert outer.endswith("/24" if v4 else "/64"), "Calico wants the subnet's length, too"
        return (annotations[CALICO + ("VXLANTunnelMACAddr" if v4 else "VXLANTunnelMACAddrV6")], outer.split("/")[0],
                annotations[CALICO + ("IPv4VXLANTunnelAddr" if v4 else "IPv6VXLANTunnelAddr")])

    def annotations(self, mac):
        found = {}
        for family in self.families:
            v4 = family == V4
            found[CALICO + ("IPv4Address" if v4 else "IPv6Address")] = f"{self.node.addresses[family]}/{24 if v4 else 64}"
            found[CALICO + ("IPv4VXLANTunnelAddr" if v4 else "IPv6VXLANTunnelAddr")] = self.base(self.node, family)
            found[CALICO + ("VXLANTunnelMACAddr" if v4 else "VXLANTunnelMACAddrV6")] = mac[family]
        return found


def annotations_of(one, node):
    with one.source.ns.enter():
        return one.source.api.request("GET", f"/api/v1/nodes/{node.name}")["metadata"].get("annotations", {})


def everybody_reaches_everybody(one, pods):
    for family in one.families:
        for a in pods:
            for b in pods:
                if a is not b:
                    assert traffic.reach(a.ns, b.ns, b.addresses[family]) == a.addresses[family], f"{a.node.name} to {b.node.name}, IPv{family}"


@pytest.mark.parametrize("theirs", [Flannel, Calico])
def test_a_cluster_moves_over_node_by_node(spaces, tmp_path, theirs):
    one = cluster.Cluster(spaces, tmp_path / "cluster", (V4, V6), theirs.settings, source=cluster.KubeSource)
    try:
        # All three are theirs.
        old = {node.name: theirs(node, one.families) for node in one.nodes}
        macs = {node.name: {f: OLD_MAC[f][:-1] + str(node.number) for f in one.families} for node in one.nodes}
        for node in one.nodes:
            obj = node.object()
            obj["metadata"]["annotations"] = old[node.name].annotations(macs[node.name])
            one.source.put(obj)
            old[node.name].make_device(macs[node.name])
            old[node.name].write_conflist()
        for node in one.nodes:
            for other in one.nodes:
                if other is not node:
                    old[node.name].add_peer(other, annotations_of(one, other))
        pods = [node.pod() for node in one.nodes]
        everybody_reaches_everybody(one, pods)

        # One after the other becomes ours; what it publishes is what the others still go by.
        for node in one.nodes:
            index = json.loads(node.ns.ip("-j", "link", "show", old[node.name].v4))[0]["ifindex"]
            os.unlink(node.conflist_path)
            node.start()
            wait_until(node.ready, lambda n=node: f"{n.role()}\n{n.log()[-1500:]}")
            link = json.loads(node.ns.ip("-j", "link", "show", old[node.name].v4))[0]
            assert (link["ifindex"], link["address"], link.get("ifalias")) == (index, macs[node.name][V4], "culvert routing"), "the same device"
            wait_until(lambda n=node: len(n.paths()) == 4, lambda n=node: f"{n.paths()}")
            everybody_reaches_everybody(one, pods)
        for node in one.nodes:
            assert old[node.name].read(annotations_of(one, node), V4, node)[0] == macs[node.name][V4]
            assert node.role()["state"] == "ok", node.role()

        # A new node, which was never theirs, is reached by what it publishes, too.
        n1, n3 = one.nodes[0], one.nodes[2]
        n3.stop()
        for family in one.families:
            n3.ns.ip("link", "delete", old["n3"].device(family))
        obj = n3.object()
        with one.source.ns.enter():
            one.source.api.request("PUT", "/api/v1/nodes/n3", obj)
        wait_until(lambda: not annotations_of(one, n3), "n3 is new")
        n3.start()
        published = wait_until(lambda: (a := annotations_of(one, n3)) and len(a) >= 6 and a, lambda: f"{annotations_of(one, n3)}\n{n3.log()}")
        n1.stop()
        for line in n1.ns.ip("nexthop").splitlines():
            n1.ns.ip("nexthop", "delete", "id", line.split()[1])
        old["n1"].add_peer(n3, published)
        wait_until(lambda: traffic.reach(pods[0].ns, pods[2].ns, pods[2].addresses[V4], timeout=2) == pods[0].addresses[V4], "n3 is reached")
        for family in one.families:
            assert traffic.reach(pods[2].ns, pods[0].ns, pods[0].addresses[family]) == pods[2].addresses[family]
            assert traffic.reach(pods[0].ns, pods[2].ns, pods[2].addresses[family]) == pods[0].addresses[family]
    finally:
        one.close()
