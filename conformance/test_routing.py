"""Nodes that reach each other: three of them on two subnets, each backend, each family."""
import json
import os
import shlex
import socket
import subprocess
import time

import pytest

from lib import cluster, traffic
from lib.cluster import OUTSIDE, V4, V6, wait_until

FAMILIES = {"ipv4": (V4,), "ipv6": (V6,), "dual": (V4, V6)}
BACKENDS = {
    "host-gw": {"encapsulation": "none"},
    "vxlan-l3": {"encapsulation": "vxlan-l3", "tunnelMode": "Always"},
    "vxlan-l3-cross-subnet": {"encapsulation": "vxlan-l3"},
    "vxlan": {"encapsulation": "vxlan", "tunnelMode": "Always"},
    "vxlan-cross-subnet": {"encapsulation": "vxlan", "tunnelMode": "CrossSubnet"},
}
PATHS = {"host-gw": ("direct", "native"), "vxlan-l3": ("vxlan-l3", "vxlan-l3"), "vxlan-l3-cross-subnet": ("direct", "vxlan-l3"),
         "vxlan": ("vxlan", "vxlan"), "vxlan-cross-subnet": ("direct", "vxlan")}


@pytest.fixture
def make(spaces, tmp_path):
    made = []

    def build(backend, families, **changes):
        one = cluster.Cluster(spaces, tmp_path / "cluster", FAMILIES[families], {**BACKENDS[backend], **changes.pop("settings", {})}, **changes)
        made.append(one)
        if backend == "host-gw":  # what the fabric routes it has to know
            for node in one.nodes:
                for family in one.families:
                    one.router.ip(f"-{family}", "route", "add", node.pods[family], "via", node.addresses[family])
        return one

    yield build
    for one in made:
        one.close()


def every_pair(one, family):
    pods = [node.pod() for node in one.nodes]
    pods.append(one.nodes[0].pod())
    for a in pods:
        for b in pods:
            if a is not b:
                yield a, b, b.addresses[family]


@pytest.mark.parametrize("source", cluster.SOURCES)
@pytest.mark.parametrize("families", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_everybody_reaches_everybody(make, backend, families, source):
    one = make(backend, families, source=cluster.SOURCES[source]).start()
    near, far = PATHS[backend]
    n1 = one.nodes[0]
    for family in one.families:
        assert n1.paths()[one.nodes[1].pods[family]] == near and n1.paths()[one.nodes[2].pods[family]] == far
        for a, b, address in every_pair(one, family):
            assert traffic.reach(a.ns, b.ns, address) == a.addresses[family], f"{a.node.name} to {b.node.name}"
        pod = n1.attached[0]
        for node in one.nodes:
            assert traffic.reach(pod.ns, node.ns, node.addresses[family]), f"pod to node {node.name}"
            there = one.nodes[2].attached[0]
            assert traffic.reach(node.ns, there.ns, there.addresses[family]), f"node {node.name} to pod"
        seen = traffic.reach(pod.ns, one.outside, OUTSIDE[0 if family == V4 else 1])
        assert seen == n1.addresses[family], "the outside sees the node"


def check_reach(one, kind, near=None):
    """What the emulated processor of the virtual machine can do in reasonable time: each node to the next, in each family."""
    n1, outside = one.nodes[0], dict(zip((V4, V6), OUTSIDE))
    pods = [node.pod() for node in one.nodes]
    for family in one.families:
        paths = [(a, b, near if near and a.subnet == b.subnet else kind) for a in one.nodes for b in one.nodes if a is not b]
        wait_until(lambda: all(a.paths().get(b.pods[family]) == path for a, b, path in paths), lambda: str([node.paths() for node in one.nodes]), seconds=60)
        for a, b in zip(pods, pods[1:] + pods[:1]):
            assert traffic.reach(a.ns, b.ns, b.addresses[family], timeout=8) == a.addresses[family], f"{a.node.name} to {b.node.name}"
        assert traffic.reach(pods[0].ns, one.nodes[2].ns, one.nodes[2].addresses[family], timeout=8), "pod to node"
        assert traffic.reach(n1.ns, pods[2].ns, pods[2].addresses[family], timeout=8), "node to pod"
        assert traffic.reach(pods[0].ns, one.outside, outside[family], timeout=8) == n1.addresses[family], "the outside sees the node"
        mtu, headers = n1.role()["facts"]["podMtu"], 28 if family == V4 else 48
        pods[0].ns.run("ping", "-c1", "-W5", "-M", "do", "-s", str(mtu - headers), pods[2].addresses[family])
    return pods


@pytest.mark.vm
@pytest.mark.parametrize("mode, source", [("Always", "dir"), ("Always", "etcd"), ("CrossSubnet", "kubernetes")])
def test_everybody_reaches_everybody_by_ipip(make, mode, source):
    """This machine's kernel has no ipip."""
    one = make("vxlan-l3", "ipv4", settings={"encapsulation": "ipip", "tunnelMode": mode}, source=cluster.SOURCES[source]).start()
    check_reach(one, "ipip", near="direct" if mode == "CrossSubnet" else None)
    assert one.nodes[0].role()["facts"]["podMtu"] == 1480


@pytest.mark.vm
def test_ipip_has_no_ipv6_and_says_so(make):
    one = make("vxlan-l3", "dual", settings={"encapsulation": "ipip", "tunnelMode": "CrossSubnet"}).start()
    n1, n2, n3 = one.nodes
    assert n1.paths()[n3.pods[V4]] == "ipip" and n1.paths()[n3.pods[V6]] == "none" and n1.paths()[n2.pods[V6]] == "direct"
    role = n1.role()
    assert role["state"] == "degraded"
    assert [c["what"] for c in role["complaints"]] == [f"no way to the pods in {n3.pods[V6]} of n3: ipip carries IPv4 only"]
    a, b = n1.pod(), n2.pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V6], timeout=8) == a.addresses[V6]


WIREGUARD = {"encapsulation": "wireguard", "tunnelMode": "Always"}


@pytest.mark.vm
@pytest.mark.parametrize("source", cluster.SOURCES)
@pytest.mark.parametrize("families", FAMILIES)
def test_everybody_reaches_everybody_by_wireguard(make, families, source):
    """Each node makes its keys, publishes them, and hears those of the others. This machine's kernel has no WireGuard."""
    one = make("vxlan-l3", families, settings=WIREGUARD, source=cluster.SOURCES[source]).start()
    check_reach(one, "wireguard")


def wireguard_keys(node):
    return [node.ns.run("wg", "show", device, "public-key").strip() for device in ("culvert-wg", "culvert-wg1")]


@pytest.mark.vm
def test_wireguard_keys_are_private_and_survive(make):
    one = make("vxlan-l3", "ipv4", settings=WIREGUARD).start()
    n1 = one.nodes[0]
    pods = check_reach(one, "wireguard")
    for name in ("wireguard.key", "wireguard.key.1"):
        assert os.stat(f"{n1.folder}/state/{name}").st_mode & 0o777 == 0o600
    before = wireguard_keys(n1)
    n1.stop(kill=True)
    n1.start()
    one.wait()
    assert wireguard_keys(n1) == before
    assert traffic.reach(pods[0].ns, pods[1].ns, pods[1].addresses[V4], timeout=8) == pods[0].addresses[V4]


def sent(node, device):
    """Bytes; a peer's own count begins anew with its key."""
    return json.loads(node.ns.ip("-s", "-j", "link", "show", device))[0]["stats64"]["tx"]["bytes"]


@pytest.mark.vm
def test_a_stream_loses_nothing_while_wireguard_keys_rotate(make):
    """Two epochs of 20 s: each of the two keys of each node is sent by, rests, and is replaced meanwhile."""
    one = make("vxlan-l3", "ipv4", settings={**WIREGUARD, "wireguardRotationSeconds": 20}, nodes=(("n1", "A"), ("n3", "B"))).start()
    wait_until(lambda: all("wireguard" in node.paths().values() for node in one.nodes), lambda: one.nodes[0].log()[-2000:], seconds=60)
    a, b = one.nodes[0].pod(), one.nodes[1].pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V4], timeout=8)
    before = [wireguard_keys(node) for node in one.nodes]
    report = stream(a, b, seconds=50, rate="400k")
    after = [wireguard_keys(node) for node in one.nodes]
    assert all(now != then for old, new in zip(before, after) for now, then in zip(new, old)), f"all four keys are others: {before}, {after}"
    assert report["packets"] > 4500 and report["lost_packets"] == 0, report
    assert all(sent(one.nodes[0], device) > 500_000 for device in ("culvert-wg", "culvert-wg1")), "both have carried the stream"


@pytest.mark.vm
def test_what_should_be_encrypted_does_not_pass_in_plain(make):
    one = make("vxlan-l3", "ipv4", settings=WIREGUARD, nodes=(("n1", "A"), ("n3", "B"))).start()
    n1, n3 = one.nodes
    wait_until(lambda: all("wireguard" in node.paths().values() for node in one.nodes), lambda: n1.log()[-2000:], seconds=60)
    a, b = n1.pod(), n3.pod()
    with one.router.enter():
        capture = subprocess.Popen(["tcpdump", "-nli", "any", "net", "10.244.0.0/16"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "listening on" not in capture.stderr.readline():
        pass
    assert traffic.reach(a.ns, b.ns, b.addresses[V4], timeout=8) and traffic.reach(b.ns, a.ns, a.addresses[V4], timeout=8)
    n1.stop(kill=True)  # else it puts the route back
    n1.ns.ip("route", "delete", n3.pods[V4])
    a.ns.run("ping", "-c2", "-W1", "-i0.2", b.addresses[V4], check=False)
    pretender = n3.pods[V4].replace(".0/24", ".77")
    one.router.ip("address", "add", f"{pretender}/32", "dev", "lo")
    one.router.ip("route", "add", n1.pods[V4], "via", n1.addresses[V4], "src", pretender)
    with a.ns.enter():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((a.addresses[V4], 5000))
    receiver.settimeout(10)
    send(one.router, pretender, a.addresses[V4], b"plain")
    send(b.ns, b.addresses[V4], a.addresses[V4], b"encrypted")
    assert receiver.recv(100) == b"encrypted"
    n1.ns.run("nft", "flush", "chain", "inet", "culvert_routing", "plaintext_in")
    send(one.router, pretender, a.addresses[V4], b"let in")
    assert receiver.recv(100) == b"let in", "it was the rule that held it up"
    receiver.close()
    capture.terminate()
    seen = [line for line in capture.communicate()[0].splitlines() if line]
    assert seen and all(f"{pretender}." in line for line in seen), f"in plain there was but what we sent: {seen}"


def send(ns, source, target, data):
    with ns.enter():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.bind((source, 0))
        sender.sendto(data, (target, 5000))


@pytest.mark.parametrize("backend, mtu", [("host-gw", 1500), ("vxlan-l3", 1464), ("vxlan", 1450)])
def test_packets_as_large_as_the_mtu_pass(make, backend, mtu):
    one = make(backend, "ipv4").start()
    a, b = one.nodes[0].pod(), one.nodes[2].pod()
    assert f"mtu {mtu} " in a.ns.ip("link", "show", "eth0")
    a.ns.run("ping", "-c1", "-W2", "-M", "do", "-s", str(mtu - 28), b.addresses[V4])
    with pytest.raises(RuntimeError, match="too long"):
        a.ns.run("ping", "-c1", "-W1", "-M", "do", "-s", str(mtu - 27), b.addresses[V4])


@pytest.mark.parametrize("backend", ["vxlan-l3", "vxlan"])
def test_a_restart_changes_nothing_in_the_kernel(make, backend):
    one = make(backend, "dual").start()
    n1 = one.nodes[0]
    before = n1.kernel()
    for kill in (False, True):
        n1.stop(kill=kill)
        assert n1.kernel() == before, "nothing is removed on exit"
        n1.start()
        one.wait()
        assert n1.kernel() == before
    assert n1.role()["state"] == "ok", n1.role()


def test_what_went_while_nobody_looked_is_swept(make):
    one = make("vxlan", "ipv4").start()
    n1, n3 = one.nodes[0], one.nodes[2]
    n1.stop(kill=True)
    one.source.remove(n3.object())
    n1.start()
    wait_until(lambda: n3.pods[V4] not in "".join(n1.kernel()["routes"]), "the route to n3 is swept")
    kernel = n1.kernel()
    assert n3.addresses[V4] not in "".join(kernel["fdb"]) and n3.addresses[V4] not in kernel["nft"]


def test_without_its_source_a_node_forwards_as_before(make):
    one = make("vxlan-l3", "ipv4").start()
    n1 = one.nodes[0]
    before = n1.kernel()
    wait_until(lambda: os.path.exists(f"{n1.folder}/state/routing.state"), "the state is on disk")
    n1.stop()
    for link in ("culvert-l3",):
        n1.ns.ip("link", "delete", link)  # as after a boot
    n1.ns.ip("nexthop", "flush", "proto", "197", check=False)
    os.rename(one.source.folder, one.source.folder + ".away")
    n1.start()
    wait_until(lambda: n1.kernel()["routes"] == before["routes"], lambda: f"{n1.kernel()['routes']} != {before['routes']}\n{n1.log()}")


@pytest.mark.parametrize("damage", ["ip route delete 10.244.3.0/24", "ip nexthop flush proto 197", "ip link delete culvert-l3",
                                    "ip address flush dev culvert-l3", "ip link set culvert-l3 down"])
def test_foreign_deletion_is_repaired(make, damage):
    one = make("vxlan-l3", "ipv4").start()
    n1 = one.nodes[0]
    a, b = n1.pod(), one.nodes[2].pod()
    before = n1.kernel()
    n1.ns.run(*damage.split())

    def repaired():
        now = n1.kernel()
        return all(now[key] == before[key] for key in ("routes", "nexthops", "nft"))

    wait_until(repaired, lambda: f"{n1.kernel()} is not {before}\n{n1.log()}", seconds=5)
    assert traffic.reach(a.ns, b.ns, b.addresses[V4])


def test_a_peer_that_comes_back_with_another_address(make):
    one = make("vxlan-l3", "ipv4").start()
    n1, n3 = one.nodes[0], one.nodes[2]
    a, b = n1.pod(), n3.pod()
    n3.ns.ip("address", "delete", f"{n3.addresses[V4]}/24", "dev", "eth0")
    n3.ns.ip("address", "add", "198.18.2.99/24", "dev", "eth0")
    n3.ns.ip("route", "replace", "default", "via", "198.18.2.1")
    n3.addresses[V4] = "198.18.2.99"
    one.source.put(n3.object())
    wait_until(lambda: "198.18.2.99" in "".join(n1.kernel()["nexthops"]), "n1 knows the new address")
    wait_until(lambda: "198.18.2.99" in "".join(n3.kernel()["nexthops"]), "n3 sends from the new address")
    assert traffic.reach(a.ns, b.ns, b.addresses[V4])


def test_two_nodes_with_one_network_are_reported(make):
    one = make("vxlan-l3", "ipv4").start()
    thief = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a-thief"}, "spec": {"podCIDRs": [one.nodes[2].pods[V4]]},
             "status": {"addresses": [{"type": "InternalIP", "address": "198.18.2.66"}]}}
    one.source.put(thief)
    n1 = one.nodes[0]
    role = wait_until(lambda: (r := n1.role()) and r["complaints"] and r, "n1 complains")
    assert "n3 and a-thief both claim 10.244.3.0/24; n3 keeps it" in role["complaints"][0]["what"]
    a, b = n1.pod(), one.nodes[2].pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V4])


def test_culvertctl_shows_paths_and_networks(make):
    one = make("vxlan-l3-cross-subnet", "ipv4").start()
    n1 = one.nodes[0]
    ask = [f"{cluster.BIN}/culvertctl", "--socket", n1.socket]
    routes = n1.ns.run(*ask, "routes")
    assert "198.18.1.12 is on-link" in routes and "vxlan-l3" in routes and one.nodes[2].pods[V4] in routes
    networks = json.loads(n1.ns.run(*ask, "ipam", "-o", "json"))["networks"]
    assert {(n["network"], n["node"], n["state"]) for n in networks} == {(node.pods[V4], node.name, "in use") for node in one.nodes}
    assert "routing.bgp.enabled" in subprocess.run([*ask, "bgp"], capture_output=True, text=True).stderr
    assert n1.ns.run(*ask, "status").startswith("node n1: ok")


def pool(name="pods", cidr="10.244.0.0/16", **spec):
    return {"apiVersion": "culvert.dev/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "encapsulation": "vxlan-l3", "natOutgoing": True, **spec}}


@pytest.mark.parametrize("source", cluster.SOURCES)
def test_nodes_without_networks_take_blocks(make, source):
    """Nodes register themselves, take a block each, and give it back when they are gone."""
    one = make("vxlan-l3", "ipv4", source=cluster.SOURCES[source], settings={"registerNode": True, "blockGraceSeconds": 1, "leaseSeconds": 5})
    one.source.put(pool())
    for node in one.nodes:
        node.pods[V4] = None
        node.start()
    for node in one.nodes:
        wait_until(node.ready, lambda n=node: f"{n.name}: {n.role()}\n{n.log()[-1500:]}")
    blocks = {node.name: node.role()["facts"]["networks"] for node in one.nodes}
    assert all(len(own) == 1 and own[0].endswith("/26") for own in blocks.values()), blocks
    assert len({own[0] for own in blocks.values()}) == 3, "no block is anybody else's"
    wait_until(lambda: all(len(node.paths()) == 2 for node in one.nodes), lambda: str([node.paths() for node in one.nodes]))
    a, b = one.nodes[0].pod(), one.nodes[2].pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4]
    if source == "dir":
        return  # its own node file is not ours to remove from outside
    one.nodes[2].stop()
    one.source.remove({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}})
    name = blocks["n3"][0].replace(".", "-").replace("/", "-")
    wait_until(lambda: not one.source.exists({"apiVersion": "culvert.dev/v1", "kind": "AddressBlock", "metadata": {"name": name}}),
               lambda: f"the block of n3 is free again\n{one.nodes[0].log()[-1500:]}")
    assert one.source.exists({"apiVersion": "culvert.dev/v1", "kind": "AddressBlock",
                              "metadata": {"name": blocks["n1"][0].replace(".", "-").replace("/", "-")}})


def lose_the_source(one):
    os.rename(one.source.folder, one.source.folder + ".away")
    time.sleep(1)
    os.rename(one.source.folder + ".away", one.source.folder)


def change_the_path(one):
    for mode, path in (("Always", "vxlan-l3"), ("CrossSubnet", "direct")):
        one.source.put(pool(tunnelMode=mode))
        for node, other in (one.nodes[:2], one.nodes[1::-1]):
            wait_until(lambda n=node, o=other, p=path: n.paths().get(o.pods[V4]) == p, lambda n=node: str(n.paths()))


@pytest.mark.parametrize("event", [lose_the_source, change_the_path])
def test_a_stream_between_nodes_loses_nothing(make, event):
    """1,000 datagrams a second for six seconds, while it happens."""
    one = make("vxlan-l3-cross-subnet", "ipv4").start([pool(tunnelMode="CrossSubnet")])
    total = stream(one.nodes[0].pod(), one.nodes[1].pod(), seconds=6, rate="4M", meanwhile=lambda: event(one))
    assert total["packets"] > 5000 and total["lost_packets"] == 0, total


def stream(a, b, seconds, rate, meanwhile=lambda: None):
    """Datagrams of 500 bytes from pod to pod; what iperf3 has counted."""
    with b.ns.enter():
        server = subprocess.Popen(["iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: ":5201" in b.ns.run("ss", "-ltn"), "iperf3 serves")
        with a.ns.enter():
            client = subprocess.Popen(["iperf3", "-c", b.addresses[V4], "-u", "-b", rate, "-l", "500", "-t", str(seconds), "-J"], stdout=subprocess.PIPE,
                                      text=True)
        time.sleep(1)
        meanwhile()
        report = json.loads(client.communicate(timeout=seconds + 30)[0])
    finally:
        server.kill()
        server.wait()
    return report["end"]["sum"]


def isolate(one, on):
    """Whether the subnet of n1 and n2 only looks like one layer 2: no frame passes between them."""
    for node in one.nodes[:2]:
        one.router.run("bridge", "link", "set", "dev", f"to-{node.name}", "isolated", "on" if on else "off")
        node.ns.ip("neigh", "flush", "dev", "eth0")  # instead of waiting for the entries to grow old


def answer_for_others(one, on):
    """The router answers whoever looks for a neighbour, and carries what it gets, as clouds' routers do."""
    one.router.sysctl("net/ipv4/conf/subA/send_redirects", 0)
    one.router.sysctl("net/ipv4/conf/all/send_redirects", 0)
    one.router.sysctl("net/ipv4/conf/subA/proxy_arp_pvlan", int(on))


def test_on_link_is_what_answers_as_a_neighbour(make):
    one = make("vxlan-l3-cross-subnet", "ipv4").start()
    n1, n2, _ = one.nodes
    a, b = n1.pod(), n2.pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4]

    def both_by(path):
        a.ns.run("ping", "-c1", "-W1", b.addresses[V4], check=False)  # a neighbour is looked for when there is a packet for it
        return all(n.paths()[o.pods[V4]] == path for n, o in ((n1, n2), (n2, n1)))

    assert both_by("direct")
    isolate(one, True)
    wait_until(lambda: both_by("vxlan-l3"), lambda: f"nobody answers: {n1.paths()}, {n1.log()[-1500:]}")
    answer_for_others(one, True)
    isolate(one, True)
    assert wait_until(lambda: traffic.reach(a.ns, b.ns, b.addresses[V4]), "by way of the router") == a.addresses[V4]
    assert both_by("vxlan-l3"), "a router that answers for a peer is no neighbour"
    answer_for_others(one, False)
    isolate(one, False)
    wait_until(lambda: both_by("direct"), lambda: f"it is a neighbour again: {n1.paths()}, {n1.log()[-1500:]}")
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4]


def test_only_peers_are_let_into_the_tunnel(make):
    one = make("vxlan-l3", "ipv4").start()
    rules = one.nodes[0].kernel()["nft"]
    assert "udp dport 4790 ip saddr @peers_ipv4 notrack accept" in rules and "udp dport 4790 fib daddr type local drop" in rules
    assert one.nodes[1].addresses[V4] in rules and one.nodes[2].addresses[V4] in rules


def cleanup(node):
    with node.ns.enter():
        return subprocess.run([f"{cluster.BIN}/culvertd", "--config", node.write_config(), "--cleanup"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


FOREIGN = ["ip link add foreign type dummy", "ip link add foreign type veth peer name foreign2",  # a kernel has one or the other
           "ip link set foreign up", "ip route add 10.99.0.0/16 via 198.18.1.1", "ip route add 10.98.0.0/16 via 198.18.1.1 proto 80",
           "ip nexthop add id 7 via 198.18.1.1 dev eth0", "ip route add 10.97.0.0/16 nhid 7", "nft add table inet foreign",
           "nft add chain inet foreign postrouting { type nat hook postrouting priority 100 ; }",
           "ip link add foreign-vxlan type vxlan id 77 dstport 4800 dev eth0", "ip link set foreign-vxlan alias culvert"]


@pytest.mark.parametrize("backend", ["vxlan-l3", "vxlan"])
def test_cleanup_removes_what_is_ours_and_nothing_else(make, backend):
    one = make(backend, "dual")
    n1 = one.nodes[0]

    def host():
        return {"routes": n1.ns.ip("-4", "route") + n1.ns.ip("-6", "route"), "nexthops": n1.ns.ip("nexthop"), "links": n1.ns.ip("-br", "link"),
                "nft": n1.ns.run("nft", "list", "ruleset"), "addresses": n1.ns.ip("-br", "address")}

    for command in FOREIGN:
        n1.ns.run(*command.split(), check=False)
    os.makedirs(f"{n1.folder}/net.d")
    n1.bin_dir = f"{n1.folder}/bin"
    bird = f"{n1.folder}/bird"
    n1.settings = {"bgp": {"enabled": True, "configFile": f"{bird}/bird.conf", "socket": f"{bird}/bird.ctl"}}
    for folder, name in (("net.d", "99-foreign.conflist"), ("state", "foreign.state"), ("bin", "bridge")):
        os.makedirs(f"{n1.folder}/{folder}", exist_ok=True)
        with open(f"{n1.folder}/{folder}/{name}", "w") as f:
            f.write("{}")
    before = host()
    assert "foreign-vxlan" in before["links"] and "10.97.0.0/16 nhid 7" in before["routes"]
    one.start()
    wait_until(lambda: os.path.exists(f"{n1.folder}/state/routing.state") and os.path.exists(f"{bird}/bird.conf"), "the state is on disk")
    assert os.path.samefile(f"{n1.bin_dir}/culvert-cni", f"{n1.bin_dir}/ptp") and os.path.getsize(f"{n1.bin_dir}/bridge") == 2
    refused = cleanup(n1)
    assert refused.returncode == 1 and "while culvertd runs" in refused.stderr and refused.stdout == ""
    assert host() != before and n1.ready(), "nothing is removed while it runs"
    n1.stop()
    done = cleanup(n1)
    assert done.returncode == 0 and done.stderr == "", done
    said = done.stdout.splitlines()
    for what in (f"route {one.nodes[1].pods[V4]} ", f"route {one.nodes[2].pods[V6]} ", "nexthop ", "device culvert", "table inet culvert_routing",
                 f"file {n1.folder}/state/routing.state", f"file {n1.conflist_path}", f"file {bird}/bird.conf"):
        assert any(line.startswith("removed " + what) for line in said), (what, said)
    assert host() == before
    assert [os.listdir(f"{n1.folder}/{folder}") for folder in ("net.d", "state", "bin", "bird")] == [
        ["99-foreign.conflist"], ["foreign.state"], ["bridge"], []]
    again = cleanup(n1)
    assert (again.returncode, again.stdout, again.stderr) == (0, "nothing of Culvert's is here\n", "")
    n1.start()
    one.wait()
    a, b = n1.pod(), one.nodes[2].pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V6]) == a.addresses[V6], "and it may come back"


DAMAGE = ["nft delete table inet culvert_routing", "nft flush ruleset", "nft flush table inet culvert_routing",
          "nft delete chain inet culvert_routing raw_output", "nft flush set inet culvert_routing peers_ipv4"]


@pytest.mark.parametrize("kernel", ["this machine's", pytest.param("Debian's", marks=pytest.mark.vm)])
def test_nobody_else_harms_the_nftables_rules(make, kernel):
    """A kernel with NFT_TABLE_F_PERSIST (6.9) refuses it; on others what is gone comes back."""
    one = make("vxlan-l3", "ipv4").start()
    n1 = one.nodes[0]
    pod = n1.pod()
    before = n1.programmed()
    for damage in DAMAGE:
        n1.ns.run(*damage.split(), check=False)
        wait_until(lambda: n1.programmed() == before, lambda d=damage: f"after {d}: {n1.kernel()['nft']}\n{n1.log()}", seconds=5)
        assert traffic.reach(pod.ns, one.outside, OUTSIDE[0]) == n1.addresses[V4], "pods are masqueraded"
    n1.stop(kill=True)
    assert n1.programmed() == before, "the rules outlive the daemon"
    n1.start()
    one.wait()
    n1.ns.run("nft", "flush", "ruleset")
    wait_until(lambda: n1.programmed() == before, lambda: f"the next daemon has taken them over: {n1.kernel()['nft']}", seconds=5)


def published(one, node):
    """The annotations that the node has added to its Node object in the folder."""
    try:
        with open(f"{one.source.folder}/culvert-patch.nodes.{node.name}.json") as f:
            return json.load(f)["metadata"]["annotations"]
    except FileNotFoundError:
        return {}


def test_the_mtu_follows_the_underlay(make):
    one = make("vxlan-l3", "ipv4").start()
    n1 = one.nodes[0]
    for mtu in (1400, 1500):
        n1.ns.ip("link", "set", "eth0", "mtu", str(mtu))
        wait_until(lambda m=mtu: f"mtu {m - 36} " in n1.ns.ip("link", "show", "culvert-l3"), lambda: n1.ns.ip("link"))
        wait_until(lambda m=mtu: json.load(open(n1.conflist_path))["plugins"][0]["mtu"] == m - 36, "new pods get it")
        assert n1.role()["facts"]["podMtu"] == mtu - 36
        assert f"mtu {mtu - 36} " in n1.pod().ns.ip("link", "show", "eth0")


@pytest.mark.parametrize("backend", ["vxlan-l3", "vxlan", "vxlan-l3-cross-subnet"])
def test_a_new_address_of_the_node_reaches_the_others(make, backend):
    """Nobody corrects the Node object: the node itself says where it is."""
    one = make(backend, "ipv4").start()
    n1, n2, n3 = one.nodes
    pods = [node.pod() for node in one.nodes]
    n1.ns.ip("address", "delete", f"{n1.addresses[V4]}/24", "dev", "eth0")
    n1.ns.ip("address", "add", "198.18.1.77/24", "dev", "eth0")
    n1.ns.ip("route", "replace", "default", "via", "198.18.1.1")
    wait_until(lambda: published(one, n1).get("culvert.dev/ipv4-endpoint") == "198.18.1.77", lambda: f"{published(one, n1)}\n{n1.role()}")
    for other in (n2, n3):
        wait_until(lambda n=other: "198.18.1.77" in str(n.programmed()) and n1.addresses[V4] not in str(n.programmed()["nexthops"]),
                   lambda n=other: f"{n.programmed()}")
    for pod in pods[1:]:
        assert traffic.reach(pods[0].ns, pod.ns, pod.addresses[V4]) == pods[0].addresses[V4]
        assert traffic.reach(pod.ns, pods[0].ns, pods[0].addresses[V4]) == pod.addresses[V4]


@pytest.mark.parametrize("backend", ["vxlan-l3-cross-subnet", "vxlan-cross-subnet"])
def test_the_underlay_flaps(make, backend):
    """The kernel takes next hops and routes away with the link; who configured the link brings its default route back."""
    one = make(backend, "dual").start()
    n1 = one.nodes[0]
    pods = [node.pod() for node in one.nodes]
    before = n1.programmed()
    for _ in range(3):
        n1.ns.ip("link", "set", "eth0", "down")
        n1.ns.ip("link", "set", "eth0", "up")
        n1.ns.ip("address", "replace", f"{n1.addresses[V6]}/64", "dev", "eth0", "nodad")  # gone with the link, as the kernel does it
        n1.ns.ip("route", "replace", "default", "via", "198.18.1.1")
        n1.ns.ip("-6", "route", "replace", "default", "via", "fd18:1::1")
    wait_until(lambda: n1.programmed() == before, lambda: f"{n1.programmed()}\n\n{before}\n{n1.log()}")
    for family in one.families:
        for pod in pods[1:]:
            assert traffic.reach(pods[0].ns, pod.ns, pod.addresses[family], timeout=8) == pods[0].addresses[family]


@pytest.mark.parametrize("backend", ["vxlan-l3-cross-subnet", "vxlan"])
def test_the_underlays_interface_is_replaced(make, backend):
    """As when a driver is loaded anew: another interface of the same name and addresses."""
    one = make(backend, "dual").start()
    n1 = one.nodes[0]
    pods = [node.pod() for node in one.nodes]
    before = n1.programmed()
    n1.ns.ip("link", "delete", "eth0")
    wait_until(lambda: n1.role()["facts"]["ipv4"].startswith("none"), lambda: f"it has noticed: {n1.role()}")
    n1._wire()
    wait_until(lambda: n1.programmed() == before, lambda: f"{n1.programmed()}\n\n{before}\n{n1.log()}")
    for family in one.families:
        for pod in pods[1:]:
            assert traffic.reach(pods[0].ns, pod.ns, pod.addresses[family], timeout=8) == pods[0].addresses[family]


def test_a_peer_that_left_and_came_back_elsewhere(make):
    one = make("vxlan", "ipv4").start()
    n1, n3 = one.nodes[0], one.nodes[2]
    a, b = n1.pod(), n3.pod()
    old = n3.addresses[V4]
    one.source.remove(n3.object())
    wait_until(lambda: n3.pods[V4] not in str(n1.programmed()) and old not in str(n1.programmed()), lambda: str(n1.programmed()))
    n3.ns.ip("address", "delete", f"{old}/24", "dev", "eth0")
    n3.ns.ip("address", "add", "198.18.2.99/24", "dev", "eth0")
    n3.ns.ip("route", "replace", "default", "via", "198.18.2.1")
    n3.addresses[V4] = "198.18.2.99"
    one.source.put(n3.object())
    wait_until(lambda: "dst 198.18.2.99" in str(n1.programmed()["neighbours"]), lambda: str(n1.programmed()))
    wait_until(lambda: "local 198.18.2.99 " in n3.ns.ip("-d", "link", "show", "culvert.1", check=False), lambda: n3.ns.ip("-d", "link"))
    wait_until(lambda: one.nodes[1].addresses[V4] in str(n3.programmed()["neighbours"]), lambda: str(n3.programmed()))
    assert old not in str(n1.programmed())
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4]


@pytest.mark.parametrize("damage", ["bridge fdb delete {mac} dev culvert.1 dst 198.18.2.13 self", "ip neigh delete 10.244.3.0 dev culvert.1",
                                    "ip neigh flush dev culvert.1 nud permanent", "ip link set culvert.1 address 02:00:00:00:00:01",
                                    "ip link delete culvert.1"])
def test_foreign_deletion_of_a_peers_vtep_is_repaired(make, damage):
    one = make("vxlan", "ipv4").start()
    n1 = one.nodes[0]
    a, b = n1.pod(), one.nodes[2].pod()
    before = n1.programmed()
    mac = json.loads(one.nodes[2].ns.ip("-j", "link", "show", "culvert.1"))[0]["address"]
    n1.ns.run(*damage.format(mac=mac).split())
    wait_until(lambda: n1.programmed() == before, lambda: f"{n1.programmed()} is not {before}\n{n1.log()}", seconds=5)
    assert traffic.reach(a.ns, b.ns, b.addresses[V4])


def test_what_an_earlier_life_left_is_swept(make):
    one = make("vxlan-l3", "dual").start()
    n1 = one.nodes[0]
    before = n1.programmed()
    n1.stop(kill=True)
    for left in ["ip nexthop add id 77 via 198.18.1.1 dev eth0 proto 197", "ip route add 10.244.77.0/24 nhid 77 proto 197",
                 "ip route add blackhole 10.244.78.0/24 proto 197", "ip -6 route add fd44:77::/64 via fd18:1::1 proto 197",
                 "ip route replace 10.244.2.0/24 via 198.18.1.1 proto 197", "ip address add 10.244.77.1/32 dev culvert-l3",
                 "ip link add culvert.9 type vxlan id 9 dstport 4900 dev eth0", "ip link set culvert.9 alias 'culvert routing'",
                 "nft add element inet culvert_routing peers_ipv4 {198.18.1.66}", "nft add rule inet culvert_routing raw_prerouting drop"]:
        n1.ns.run(*shlex.split(left))
    assert n1.programmed() != before
    n1.start()
    wait_until(lambda: n1.programmed() == before, lambda: f"{json.dumps(n1.programmed(), indent=1)}\n\n{json.dumps(before, indent=1)}\n{n1.log()}")


def test_what_is_masqueraded_and_what_not(make):
    one = make("vxlan-l3", "dual", settings={"nonMasqueradeCIDRs": [f"{OUTSIDE[0]}/32", f"{OUTSIDE[1]}/128"]}).start()
    n1, n3 = one.nodes[0], one.nodes[2]
    a, b = n1.pod(), n3.pod()
    others = ("198.18.9.3", "fd18:9::3")
    for address, other, family in zip(OUTSIDE, others, one.families):
        one.outside.ip("address", "add", f"{other}/{24 if family == V4 else 64}", "dev", "eth0", *(["nodad"] if family == V6 else []))
        one.outside.ip(f"-{family}", "route", "add", n1.pods[family], "via", "198.18.9.1" if family == V4 else "fd18:9::1")
        one.router.ip(f"-{family}", "route", "add", n1.pods[family], "via", n1.addresses[family])
        assert traffic.reach(a.ns, one.outside, address) == a.addresses[family], "the excluded destination sees the pod itself"
        assert traffic.reach(a.ns, one.outside, other) == n1.addresses[family], "every other one sees the node"
        assert traffic.reach(a.ns, b.ns, b.addresses[family]) == a.addresses[family], "none between pods"
        assert traffic.reach(a.ns, n3.ns, n3.addresses[family]) == n1.addresses[family], "nor are nodes pods"
    assert "masquerade fully-random" in n1.kernel()["nft"]


def test_the_state_file_survives_a_kill_at_any_moment(make):
    """SIGKILL at each system call that touches the file: it is as before or as after, whole, and a node starts with it."""
    one = make("vxlan-l3", "ipv4").start()
    n1, n3 = one.nodes[0], one.nodes[2]
    path = f"{n1.folder}/state/routing.state"
    for node in one.nodes:
        node.stop()
    with open(path) as f:
        before = f.read()
    assert '"n3"' in before
    for call in ("unlink", "openat", "write", "rename"):
        with open(path, "w") as f:
            f.write(before)
        one.source.remove(n3.object())
        command = ["strace", "-f", "-o", "/dev/null", "-P", path + ".new", "-e", f"inject={call}:signal=KILL"]
        with n1.ns.enter(), open(f"{n1.folder}/log", "ab") as log:
            done = subprocess.run([*command, f"{cluster.BIN}/culvertd", "--config", n1.write_config()], stdout=log, stderr=log, timeout=60)
        assert done.returncode == -9, f"killed at {call}: {n1.log()[-1500:]}"
        with open(path) as f:
            after = f.read()
        one.source.put(n3.object())
        assert after == before or after.startswith("culvert routing state 1\n") and '"n3"' not in after and after.endswith("}\n")
    n1.start()
    wait_until(n1.ready, lambda: f"it starts with what is there: {n1.log()[-1500:]}")
    n1.stop()
    with open(path) as f:
        assert f.read() == before
