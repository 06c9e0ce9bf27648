"""Addresses for pods: blocks on demand, given back, never twice; what nodes that died have left; culvertctl ipam."""
import ipaddress
import json
import os
import subprocess
import time

import pytest

from lib import cluster, cni, traffic
from lib.cluster import V4, V6, wait_until

SERVERS = ("etcd", "kubernetes")


def pool(name, cidr, size, **spec):
    return {"apiVersion": "culvert.dev/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "encapsulation": "vxlan-l3", "blockSize": size, **spec}}


def block(cidr, node=None):
    return {"apiVersion": "culvert.dev/v1", "kind": "AddressBlock",
            "metadata": {"name": cidr.replace(".", "-").replace(":", "-").replace("/", "-")}, "spec": {"cidr": cidr, "node": node, "pool": "pods"}}


def bare(name):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


@pytest.fixture
def make(spaces, tmp_path):
    made = []

    def build(source="dir", families=(V4,), nodes=(("n1", "A"), ("n2", "A"), ("n3", "B")), **settings):
        one = cluster.Cluster(spaces, tmp_path / "cluster", families, settings, cluster.SOURCES[source], nodes)
        made.append(one)
        return one

    yield build
    for one in made:
        one.close()


def start(one, nodes=None, label=False):
    """Nodes without networks of their own."""
    for node in nodes or one.nodes:
        node.pods = {V4: None, V6: None}
        if label:
            obj = node.object()
            obj["spec"] = {}
            one.source.put(obj)
        node.start()
    for node in nodes or one.nodes:
        wait_until(node.ready, lambda n=node: f"{n.name}: {n.role()}\n{n.log()[-1500:]}", 40)
    return one


def networks(node):
    role = node.role()
    return role["facts"]["networks"] if role else []


def offered(node):
    with open(node.conflist_path) as f:
        return [r["subnet"] for ranges in json.load(f)["plugins"][0]["ipam"]["ranges"] for r in ranges]


def pod_as_kubelet(node):
    """Tries again while no address is free."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return node.pod()
        except AssertionError as error:
            assert "no IP addresses available" in str(error) and time.monotonic() < deadline, error
            time.sleep(0.1)


def ctl(node, *words, check=True):
    done = subprocess.run([f"{cluster.BIN}/culvertctl", "--socket", node.socket, *words], capture_output=True, text=True, timeout=30)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_a_node_takes_blocks_as_pods_come_and_gives_them_back(make):
    """Forty pods with blocks of 13 and 14 addresses, from two pools that are meant for the node, one of which is small."""
    one = make(families=(V4, V6), nodes=(("n1", "A"), ("n2", "B")), emptyBlockSeconds=1)
    for each in (pool("a-small", "10.244.0.0/27", 28, nodeSelector="subnet == 'A'"), pool("b-large", "10.245.0.0/24", 28, nodeSelector="subnet == 'A'"),
                 pool("c-other", "10.246.0.0/24", 28, nodeSelector="subnet == 'B'"), pool("v6", "fd44::/112", 124)):
        one.source.put(each)
    start(one, label=True)
    n1, n2 = one.nodes
    assert len(networks(n1)) == 2, "one block of each family to begin with"
    pods = [pod_as_kubelet(n1) for _ in range(40)]
    for family in (V4, V6):
        assert len({p.addresses[family] for p in pods}) == 40
    own = networks(n1)
    four, six = [n for n in own if "." in n], [n for n in own if ":" in n]
    assert 4 <= len(four) <= 5 and 3 <= len(six) <= 4, own
    assert {n for n in four if n.startswith("10.244.0.")} == {"10.244.0.0/28", "10.244.0.16/28"} and not [n for n in four if n.startswith("10.246.")], four
    assert [n for n in networks(n2) if "." in n][0].startswith("10.246.0.")
    far = n2.pod()
    wait_until(lambda: set(own) <= set(n2.paths()), lambda: f"{own} {n2.paths()}")
    for family in (V4, V6):
        assert traffic.reach(pods[-1].ns, far.ns, far.addresses[family]) == pods[-1].addresses[family]
    use = {n["network"]: n for n in json.loads(ctl(n1, "ipam", "-o", "json").stdout)["networks"] if n["node"] == "n1"}
    assert sum(use[n]["used"] for n in four) == 40 and sum(use[n]["free"] for n in four) == 13 * len(four) - 40
    for pod in pods[2:]:
        pod.delete()
    wait_until(lambda: len(networks(n1)) == 2, lambda: f"{networks(n1)}\n{n1.log()[-2000:]}")
    left = networks(n1)
    assert set(offered(n1)) == set(left)
    wait_until(lambda: {n for n in n2.paths()} == set(left), lambda: f"{left} {n2.paths()}")
    for pod in pods[:2]:
        assert traffic.reach(pod.ns, far.ns, far.addresses[V4]) == pod.addresses[V4], "no pod has lost its block"


def test_a_block_that_a_pod_gets_an_address_of_at_the_last_moment_stays(make):
    """By a list that the runtime read before the block was offered no more."""
    one = make(nodes=(("n1", "A"),), emptyBlockSeconds=2)
    one.source.put(pool("pods", "10.244.0.0/24", 28))
    n1 = start(one).nodes[0]
    pods = [pod_as_kubelet(n1) for _ in range(11)]
    wait_until(lambda: len(offered(n1)) == 2, "a second block comes")
    both = set(offered(n1))
    for pod in pods[1:]:
        pod.delete()
    wait_until(lambda: len(offered(n1)) == 1, "an empty block is offered no more")
    gone = (both - set(offered(n1))).pop()
    late = {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": gone}]]}}
    pod = cluster.Pod(n1, "late", cni.Conflist(n1.ns, "1.0.0", "culvert-n1", [(cni.OURS, late)]))
    wait_until(lambda: gone in offered(n1), lambda: f"{gone} is offered again\n{n1.log()[-1500:]}")
    assert set(networks(n1)) == both and pod.addresses[V4]


@pytest.mark.parametrize("source", SERVERS)
def test_twenty_nodes_at_once_share_twenty_blocks(make, source):
    """Some of them are killed in the middle and begin again. One more node finds nothing left."""
    one = make(source, nodes=[(f"n{i}", "A") for i in range(1, 22)], registerNode=True)
    one.source.put(pool("pods", "10.244.0.0/24", 28))
    one.source.put(pool("more", "10.245.0.0/26", 28))
    last = one.nodes.pop()
    for node in one.nodes:
        node.start()
    for node in one.nodes[::4]:
        node.stop(kill=True)
        node.start()
    for node in one.nodes:
        wait_until(node.ready, lambda n=node: f"{n.name}: {n.role()}\n{n.log()[-1500:]}", 120)
    taken = {n: node.name for node in one.nodes for n in networks(node)}
    assert len(taken) == 20 and set(taken.values()) == {node.name for node in one.nodes}, taken
    one.nodes.append(last)
    last.start()
    wait_until(lambda: "no block is left" in str((last.role() or {}).get("complaints")), lambda: str(last.role()))
    rows = {n["network"]: n["node"] for n in json.loads(ctl(last, "ipam", "-o", "json").stdout)["networks"]}
    assert rows == taken, "the source says what the nodes say"


def lose_answers(one):
    """What etcd has done is often not heard of: one in four of its packets is lost, and with it the connection."""
    rule = f"tcp sport 2379 ip daddr != {one.router_address} tcp flags & (fin | syn) == 0 numgen random mod 4 0 counter reject with tcp reset"
    one.router.run("nft", "-f", "-", stdin=f"table inet cut {{\nchain output {{\ntype filter hook output priority 0\n{rule}\n}}\n}}\n")


def test_blocks_are_shared_when_answers_are_lost(make):
    """A node that does not hear that it has got a block takes another, and gives one back."""
    one = make("etcd", nodes=[(f"n{i}", "A") for i in range(1, 9)], registerNode=True, emptyBlockSeconds=1)
    one.source.put(pool("pods", "10.244.0.0/25", 28))
    config = one.source.config()
    config["etcd"]["timeoutSeconds"] = 2
    one.source.config = lambda: config
    lose_answers(one)
    for node in one.nodes:
        node.start()
    time.sleep(2)
    mend(one)
    for node in one.nodes:
        wait_until(node.ready, lambda n=node: f"{n.name}: {n.role()}\n{n.log()[-1500:]}\n{ctl(n, 'ipam').stdout}\n{[networks(o) for o in one.nodes]}", 60)

    def each_has_one():
        taken = [(n, node.name) for node in one.nodes for n in networks(node)]
        return len(taken) == 8 == len(set(n for n, _ in taken)) == len(set(name for _, name in taken))

    wait_until(each_has_one, lambda: str([(node.name, networks(node)) for node in one.nodes]), 40)


def test_a_node_that_is_made_anew_keeps_its_block(make):
    """As when somebody deletes the Node and the kubelet registers again: another uid."""
    one = make("kubernetes", nodes=(("n1", "A"),), blockGraceSeconds=3)
    one.source.put(pool("pods", "10.244.0.0/24", 28))
    n1 = start(one, label=True).nodes[0]
    own = networks(n1)[0]

    def stored():
        with one.router.enter():
            return one.source.api.request("GET", f"/apis/culvert.dev/v1/addressblocks/{block(own)['metadata']['name']}")

    before = stored()
    one.source.remove(n1.object())
    one.source.put({**n1.object(), "spec": {}})
    after = wait_until(lambda: (s := stored())["spec"]["nodeUID"] != before["spec"]["nodeUID"] and s, lambda: f"the block is adopted\n{n1.log()}")
    assert after["metadata"]["uid"] == before["metadata"]["uid"], "and was there all the time"
    time.sleep(4)
    assert stored()["metadata"]["uid"] == before["metadata"]["uid"] and networks(n1) == [own]


def cut_off(one, address=None):
    """etcd cannot be reached by that node, or by none."""
    source = f"ip saddr {address}" if address else f"ip saddr != {one.router_address}"
    one.router.run("nft", "-f", "-", stdin=f"table inet cut {{\nchain input {{\ntype filter hook input priority 0\n{source} tcp dport 2379 drop\n}}\n}}\n")


def mend(one):
    one.router.run("nft", "delete", "table", "inet", "cut")


def test_what_a_dead_node_has_left_goes_and_a_lost_one_has_it_again(make):
    """n1 is killed, n3 only cut off from etcd. A node that no daemon registered stays."""
    one = make("etcd", registerNode=True, leaseSeconds=5, blockGraceSeconds=2)
    one.source.put(pool("pods", "10.244.0.0/16", 26))
    one.source.put({**bare("a-printer"), "spec": {"podCIDRs": ["10.250.0.0/24"]}})
    first = block("10.244.85.64/26", "a-printer")  # n3's first choice
    one.source.put(first)
    start(one)
    n1, n2, n3 = one.nodes
    own = {node.name: networks(node)[0] for node in one.nodes}
    wait_until(lambda: {own["n1"], own["n3"]} <= set(n2.paths()), lambda: str(n2.paths()))
    there, here = n3.pod(), n2.pod()
    n1.stop(kill=True)
    cut_off(one, n3.addresses[V4])
    one.source.remove(first)
    wait_until(lambda: not {own["n1"], own["n3"]} & set(n2.paths()), lambda: f"{n2.paths()}\n{n2.log()[-1500:]}", 40)
    for name in ("n1", "n3"):
        wait_until(lambda n=name: not one.source.exists(bare(n)) and not one.source.exists(block(own[n])), f"{name} and its block are removed")
    assert own["n1"] not in "".join(n2.kernel()["routes"])
    assert one.source.exists(bare("n2")) and one.source.exists(block(own["n2"])) and one.source.exists(bare("a-printer"))
    mend(one)
    wait_until(lambda: own["n3"] in n2.paths(), lambda: f"n3 takes the block again that its pods have addresses of: {n2.paths()}\n{n3.log()[-1500:]}", 40)
    wait_until(lambda: networks(n3) == [own["n3"]], lambda: str(networks(n3)))
    assert traffic.reach(here.ns, there.ns, there.addresses[V4]) == here.addresses[V4]
    n1.start()
    one.nodes.remove(n3)
    wait_until(lambda: len(networks(n1)) == 1, lambda: str(n1.role()))
    one.nodes.append(n3)


def test_an_outage_longer_than_lease_and_grace_removes_nobody(make):
    """etcd runs on, out of everybody's reach: the leases do expire."""
    one = make("etcd", registerNode=True, leaseSeconds=5, blockGraceSeconds=8)
    config = one.source.config()
    config["etcd"]["timeoutSeconds"] = 2  # so that nodes are back within the grace
    one.source.config = lambda: config
    one.source.put(pool("pods", "10.244.0.0/16", 26))
    start(one)
    objects = [o for node in one.nodes for o in (bare(node.name), block(networks(node)[0]))]
    leases = [{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": f"kube-node-lease/{node.name}"}} for node in one.nodes]

    def created(obj):
        text = one.source._ctl("get", one.source._key(obj), "-w", "fields")
        return [line for line in text.splitlines() if "CreateRevision" in line]

    before = [created(o) for o in objects]
    assert all(created(o) for o in [*objects, *leases])
    cut_off(one)
    wait_until(lambda: not any(created(o) for o in leases), "all leases have expired", 30, 0.5)
    time.sleep(8)
    mend(one)
    wait_until(lambda: all(created(o) for o in leases), lambda: "all leases are back\n" + one.nodes[0].log(), 30, 0.2)
    wait_until(lambda: all(n.get("/v1/status")["sources"][0]["state"] == "live" for n in one.nodes), "the source is live", 30)
    time.sleep(8)
    assert [created(o) for o in objects] == before, "nothing was removed meanwhile\n" + one.nodes[0].log()[-1500:]
    wait_until(lambda: all(len(node.paths()) == 2 for node in one.nodes), "everybody knows everybody")


def test_culvertctl_finds_leaks_and_releases(make):
    one = make(nodes=(("n1", "A"), ("n2", "A")))
    one.source.put(pool("pods", "10.244.0.0/24", 28))
    n1 = start(one).nodes[0]
    used, leaked = n1.pod(), n1.pod()
    reservation = f"/var/lib/cni/networks/culvert-n1/{leaked.addresses[V4]}"
    leaked.ns.delete()
    wait_until(lambda: len([l for l in n1.ns.links() if l.startswith("veth")]) == 1, "the leaked pod's link is gone")

    def states():
        return {a["address"]: a["state"] for a in json.loads(ctl(n1, "ipam", "addresses", "-o", "json").stdout)["addresses"]}

    assert set(states().values()) == {"in use"}, "a young reservation may be that of an ADD under way"
    old = time.time() - 3600
    os.utime(reservation, (old, old))
    os.utime(reservation.replace(leaked.addresses[V4], used.addresses[V4]), (old, old))
    with open(os.path.join(os.path.dirname(reservation), "10.244.99.9"), "w") as f:
        f.write("reserved by ops")
    wait_until(lambda: states() == {used.addresses[V4]: "in use", leaked.addresses[V4]: "leaked", "10.244.99.9": "kept back"}, lambda: str(states()))
    own, other = networks(n1)[0], networks(one.nodes[1])[0]
    ghost = next(b for b in (f"10.244.0.{16 * i}/28" for i in range(16)) if b not in (own, other))
    one.source.put(block(ghost, "ghost"))
    one.source.put(block("10.9.9.0/28", "n2"))
    found = wait_until(lambda: (c := ctl(n1, "ipam", "check", check=False)) and "ghost" in c.stdout and c, "the block of nobody is reported")
    assert found.returncode == 1
    for words in (f"{leaked.addresses[V4]} of container {leaked.cid}, which is gone", f"block {ghost} of node ghost, which is gone",
                  "block 10.9.9.0/28 of node n2 is in no pool"):
        assert words in found.stdout, found.stdout
    for what, why in ((used.addresses[V4], "is in use by container"), ("10.244.99.9", "kept back by hand"), (own, "pods have"), (other, "node n2, which is there"),
                      ("10.1.1.0/24", "there is no block"), ("10.1.1.1", "not given away")):
        refused = ctl(n1, "ipam", "release", what, check=False)
        assert refused.returncode == 2 and why in refused.stderr, refused.stderr
    ctl(n1, "ipam", "release", leaked.addresses[V4])
    ctl(n1, "ipam", "release", "10.244.99.9", "--force")
    assert not os.path.exists(reservation)
    wait_until(lambda: states() == {used.addresses[V4]: "in use"}, lambda: str(states()))
    assert "no --force" in ctl(n1, "status", "--force", check=False).stderr
    pools = json.loads(ctl(n1, "ipam", "pools", "-o", "json").stdout)["pools"]
    assert pools[0]["blocks"] == 16 and pools[0]["taken"] == 3 and pools[0]["ofThisNode"] == 1 and pools[0]["addressesUsed"] == 1, json.dumps([pools, json.loads(ctl(n1, "ipam", "-o", "json").stdout)])
    assert n1.log().count("released by hand") >= 2 and "by=" in n1.log()


@pytest.mark.parametrize("source", SERVERS)
def test_culvertctl_releases_the_block_of_nobody(make, source):
    one = make(source, nodes=(("n1", "A"),), registerNode=True)
    one.source.put(pool("pods", "10.244.0.0/24", 28))
    n1 = start(one).nodes[0]
    left = block("10.244.0.240/28", "ghost")
    one.source.put(left)
    wait_until(lambda: "ghost" in ctl(n1, "ipam").stdout, "it is seen")
    assert "released 10.244.0.240/28" in ctl(n1, "ipam", "release", "10.244.0.240/28").stdout
    assert not one.source.exists(left)
    assert "node ghost" in n1.log() and f"uid {os.getuid()}" in n1.log()


def annotated(name, **annotations):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name, "annotations": {
        {"ips": "culvert.dev/ip-addresses", "pools": "culvert.dev/pools", "calico_ips": "cni.projectcalico.org/ipAddrs",
         "calico_v4": "cni.projectcalico.org/ipv4pools", "calico_v6": "cni.projectcalico.org/ipv6pools"}[key]: value
        for key, value in annotations.items()}}, "spec": {}}


def put_pod(one, obj):
    if one.source.name == "kubernetes":
        with one.router.enter():
            one.source.api.request("POST", "/api/v1/namespaces/default/pods", obj)
    elif one.source.name == "etcd":
        one.source._ctl("put", f"/culvert/core/pods/default/{obj['metadata']['name']}", stdin=json.dumps(obj))
    else:
        one.source.put(obj)


def add(node, name):
    """The pod's addresses by family, or the error, as the runtime would get it."""
    with open(node.conflist_path) as f:
        written = json.load(f)
    ns = node.cluster.spaces.new("pod")
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"
    config = {**written["plugins"][0], "cniVersion": written["cniVersion"], "name": written["name"]}
    outcome = cni.execute(node.ns, cni.OURS, "ptp", "ADD", config, cni.new_id(name), ns.path, "eth0", args)
    if not outcome.ok:
        return outcome
    return {V6 if ":" in ip["address"] else V4: ip["address"].split("/")[0] for ip in outcome.json["ips"]}


@pytest.mark.parametrize("source", cluster.SOURCES)
def test_a_pod_gets_the_address_or_the_pool_that_its_annotation_names(make, source):
    one = make(source, families=(V4, V6), nodes=(("n1", "A"), ("n2", "A")), registerNode=True)
    for each in (pool("common", "10.244.0.0/24", 28), pool("v6", "fd44::/112", 124), pool("by-hand", "10.245.0.0/24", 28, assignmentMode="Manual"),
                 pool("other", "10.246.0.0/24", 28, nodeSelector="zone == 'far'")):
        one.source.put(each)
    for node in one.nodes:
        node.cni = {"podAnnotations": True}
    start(one)
    n1, n2 = one.nodes
    wait_until(lambda: len(n1.paths()) == 2, lambda: str(n1.paths()))
    fixed, theirs = (str(ipaddress.ip_network(next(n for n in networks(node) if "." in n))[9]) for node in one.nodes)
    for obj in (annotated("fixed", ips=f'["{fixed}"]'), annotated("twin", calico_ips=f'["{fixed}"]'), annotated("pooled", calico_v4='["by-hand"]', calico_v6='["v6"]'),
                annotated("cidr", pools='["10.245.0.0/24"]'), annotated("manual", calico_ips='["10.245.0.200"]'), annotated("stolen", ips=f'["{theirs}"]'),
                annotated("far", pools='["other"]'), annotated("nowhere", pools='["nonsense"]'), annotated("wrong", ips="10.1.1.1"), annotated("plain")):
        put_pod(one, obj)
    got = add(n1, "fixed")
    assert got[V4] == fixed and got[V6].startswith("fd44::"), got
    assert "not available" in add(n1, "twin").words
    pooled = add(n1, "pooled")
    assert pooled[V4].startswith("10.245.0.") and pooled[V6].startswith("fd44::"), pooled
    assert add(n1, "cidr")[V4].startswith("10.245.0.")
    assert add(n1, "manual")[V4] == "10.245.0.200", "the block of the address is taken"
    for name in ("plain", "unknown"):
        assert add(n1, name)[V4].startswith("10.244.0."), "pods that want nothing get nothing of a pool that is to be asked for"
    assert not [n for n in offered(n1) if n.startswith("10.245.")] and len([n for n in networks(n1) if n.startswith("10.245.")]) == 2
    for name, why in (("stolen", "which another node has"), ("far", "not meant for this node"), ("nowhere", "there is no pool nonsense"), ("wrong", "no JSON array")):
        add(n1, name).expect_error(7, why)
    wait_until(lambda: {n for n in networks(n1)} <= set(n2.paths()), lambda: f"{networks(n1)} {n2.paths()}")
    n1.stop()
    add(n1, "plain").expect_error(11, "culvertd")
