"""BGP for the fabric: `culvertctl bgp`'s configurations in real BIRDs, with GoBGP for a router."""
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from lib import bgp
from lib.bgp import resource, same_time, until

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not os.path.exists(bgp.BIRD), reason="BIRD is not installed (package bird2)"),
]
needs_router = pytest.mark.skipif(shutil.which("gobgpd") is None, reason="GoBGP is not installed (package gobgpd)")

OUTSIDE = "198.19.1.0/24"


@pytest.fixture
def fabric(spaces, tmp_path):
    made = bgp.Fabric(spaces, tmp_path)
    yield made
    made.close()


def tor(**options):
    return resource("tor", peerIP="198.18.0.254", asNumber=65001, **options)


def since(node):
    return {name: s["since"] for name, s in node.sessions().items() if s["established"]}


@needs_router
def test_three_nodes_and_a_router_learn_from_each_other(fabric):
    a, b, c = fabric.add(3)
    fabric.cluster.input["peers"] = [tor(node="n1")]
    fabric.start()
    router = fabric.add_router()
    router.announce(OUTSIDE)
    assert until(lambda: a.established(3) and b.established(2) and c.established(2)), a.sessions()
    assert until(lambda: b.block() in router.rib() and a.block() in router.rib()), router.rib()
    rib = router.rib()
    assert rib[a.block()] == [(64512,)]
    # What another node owns is worse than from that node itself, if it peered with the router.
    assert rib[b.block()] == [(64512, 64512)]
    assert until(lambda: OUTSIDE in c.routes()), c.sessions()
    assert c.routes()[OUTSIDE]["gateway"] == "198.18.0.1"
    assert a.routes()[OUTSIDE]["gateway"] == router.address
    # The daemon programs the cluster's own routes: not BIRD.
    for node in (a, b, c):
        assert set(node.routes()) == {OUTSIDE}
        assert node.routes()[OUTSIDE]["metric"] == 1024


@needs_router
def test_a_filter_has_its_effect_and_a_change_of_it_disturbs_no_session(fabric):
    (a,) = fabric.add(1)
    block_rule = {"cidr": "10.244.0.0/16", "matchOperator": "In", "prefixLength": {"min": 27}, "action": "Accept"}
    fabric.cluster.input["nodes"][0]["podBlocks"].append("10.244.9.0/26")
    fabric.cluster.input["peers"] = [tor(filters=["f"])]
    fabric.cluster.input["filters"] = [resource("f", importV4=[
        {"cidr": "198.19.66.0/24", "matchOperator": "Equal", "action": "Reject"},
        {"action": "Accept", "operations": [{"setPriority": {"value": 77}}]}], exportV4=[
        block_rule, {"cidr": "10.244.9.0/26", "matchOperator": "Equal", "action": "Reject"}])]
    fabric.start()
    router = fabric.add_router()
    router.announce(OUTSIDE)
    router.announce("198.19.66.0/24")
    assert until(lambda: OUTSIDE in a.routes() and a.block() in router.rib())
    assert {to: route["metric"] for to, route in a.routes().items()} == {OUTSIDE: 77}
    assert "10.244.9.0/26" not in router.rib()
    before = since(a)

    fabric.cluster.input["filters"] = [resource("f", importV4=[
        {"action": "Accept", "operations": [{"setPriority": {"value": 77}}]}], exportV4=[
        {"action": "Accept", "operations": [{"prependASPath": {"prefix": [64601, 64602]}},
                                            {"addCommunity": {"value": "65000:7"}}]}])]
    assert a.apply(fabric.cluster.of("n1"))["applied"]
    assert until(lambda: set(a.routes()) == {OUTSIDE, "198.19.66.0/24"}), a.routes()
    assert until(lambda: router.rib().get("10.244.9.0/26") == [(64512, 64601, 64602)]), router.rib()
    assert "65000:7" in router.gobgp("global", "rib", "10.244.9.0/26")
    assert same_time(since(a)["peer4_tor"], before["peer4_tor"])


@needs_router
def test_password_and_ttl_security_protect_a_session(fabric):
    (a,) = fabric.add(1)
    secret = {"secretKeyRef": {"name": "bgp", "key": "tor"}}
    fabric.cluster.input["peers"] = [tor(password=secret, ttlSecurity=1)]
    fabric.cluster.input["passwords"] = {"bgp/tor": "wrong one"}
    fabric.start()
    assert os.stat(a.config).st_mode & 0o777 == 0o600
    router = fabric.add_router(password="a secret", ttl=True)
    assert not until(lambda: a.established(1), 4)
    fabric.cluster.input["passwords"] = {"bgp/tor": "a secret"}
    a.apply(fabric.cluster.of("n1"))
    assert until(lambda: a.established(1)), a.sessions()
    assert os.stat(a.config).st_mode & 0o777 == 0o600
    assert until(lambda: a.block() in router.rib())


def test_a_peer_whose_password_is_missing_is_left_out_and_said_so(fabric):
    fabric.add(1)
    fabric.cluster.input["peers"] = [tor(password={"secretKeyRef": {"name": "bgp", "key": "tor"}})]
    done = bgp.call("render", stdin=json.dumps(fabric.cluster.of("n1")))
    assert "peer4_tor" not in done.stdout
    assert done.stderr == "BGPPeer tor: its password is not there: Secret bgp, key tor\n"


def test_bfd_notices_a_dead_neighbour_long_before_the_hold_time(fabric):
    a, b = fabric.add(2)
    fabric.cluster.input["configurations"] = [resource("default", bfd={"enabled": True, "intervalMs": 200})]
    fabric.start()
    assert until(lambda: a.established(1) and b.established(1)), a.sessions()
    assert until(lambda: "Up" in bird_shows(a, "show bfd sessions")), bird_shows(a, "show bfd sessions")
    b.bird.send_signal(19)  # SIGSTOP: no packet tells of it
    try:
        assert until(lambda: not a.established(1), 20), "the hold time would be 240 s"
        assert "BFD" in next(iter(a.sessions().values()))["lastError"]
    finally:
        b.bird.send_signal(18)


def bird_shows(node, command):
    """For checks of our own only; the product never runs birdc."""
    return subprocess.run(["/usr/sbin/birdc", "-s", node.socket, command], stdout=subprocess.PIPE, text=True).stdout


@needs_router
def test_an_import_limit_holds_and_shows(fabric):
    (a,) = fabric.add(1)
    fabric.cluster.input["peers"] = [tor(importLimit={"prefixes": 3, "action": "Block"})]
    fabric.start()
    router = fabric.add_router()
    for i in range(6):
        router.announce(f"198.19.{i}.0/24")
    assert until(lambda: a.established(1) and len(a.routes()) == 3), a.routes()
    assert until(lambda: a.sessions()["peer4_tor"]["limitHit"])


def test_dual_stack_peers_over_each_family(fabric):
    a, b = fabric.add(2)
    for node, facts in zip((a, b), fabric.cluster.input["nodes"]):
        facts["ipv6"] = f"fd18::{node.number}/64"
        facts["podBlocks"].append(f"fd10:244:0:{node.number}::/64")
    fabric.start()
    assert until(lambda: a.established(2) and b.established(2)), a.sessions()
    assert until(lambda: "fd10:244:0:2::/64" in bird_shows(a, "show route table master6"))
    assert "10.244.2.0/26" in bird_shows(a, "show route table master4")


# What changes, and what it should do to sessions of node n1 with n2 and with the second BIRD that plays a router.
CHANGES = {
    "a service": (lambda i: i["services"].append("10.96.0.1/32"), "soft"),
    "a block": (lambda i: i["nodes"][0]["podBlocks"].append("10.244.77.0/26"), "soft"),
    "a pool": (lambda i: i["clusterPrefixes"].append("10.250.0.0/16"), "soft"),
    "a community": (lambda i: i["configurations"][0]["spec"].update(
        prefixAdvertisements=[{"cidr": "10.244.0.0/16", "communities": ["65000:1"]}]), "soft"),
    "a filter": (lambda i: (i["filters"].append(resource("f", importV4=[{"action": "Accept"}])),
                            i["peers"][0]["spec"].update(filters=["f"])), "soft"),
    "limits": (lambda i: i["peers"][0]["spec"].update(importLimit={"prefixes": 100}, exportLimit={"prefixes": 9}), "soft"),
    "next hop": (lambda i: i["peers"][0]["spec"].update(nextHopMode="Self"), "soft"),
    "BFD": (lambda i: i["peers"][0]["spec"].update(bfd={"enabled": True, "passive": True}), "soft"),
    "priority": (lambda i: i["configurations"][0]["spec"].update(ipv4NormalRoutePriority=9), "soft"),
    "an ignored interface": (lambda i: i["configurations"][0]["spec"].update(ignoredInterfaces=["dummy*"]), "soft"),
    "a node": (lambda i: i["nodes"].append({"name": "n9", "ipv4": "198.18.0.9/24"}), "peers"),
    "a peer less": (lambda i: i["peers"].clear(), "peers"),
    "keepalive": (lambda i: i["peers"][0]["spec"].update(keepaliveTime="20s"), "restart"),
    "restart time": (lambda i: i["peers"][0]["spec"].update(maxRestartTime="33s"), "restart"),
    "graceful restart": (lambda i: i["peers"][0]["spec"].update(gracefulRestart={"enabled": False}), "restart"),
    "long lived": (lambda i: i["peers"][0]["spec"].update(
        gracefulRestart={"longLivedStaleTime": "10m"}), "restart"),
    "allowed local AS": (lambda i: i["peers"][0]["spec"].update(numAllowedLocalASNumbers=2), "restart"),
    "source address": (lambda i: i["peers"][0]["spec"].update(sourceAddress="None"), "restart"),
    "router id": (lambda i: i["nodes"][0].update(ipv4="198.18.0.11/24"), "restart"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_classify_says_is_what_bird_does(fabric, change):
    """Sessions said to go on have the same `since` afterwards, those said to restart have not."""
    a, b = fabric.add(2)
    second = fabric.add(1)[0]  # not of the cluster: plays the router
    a.ns.ip("address", "add", "198.18.0.11/24", "dev", "eth0")
    nodes = fabric.cluster.input["nodes"]
    outsider = nodes.pop()
    fabric.cluster.input["configurations"] = [resource("default")]
    fabric.cluster.input["peers"] = [resource("r", peerIP="198.18.0.3", asNumber=65003, node="n1")]
    a.start(fabric.cluster.of("n1"))
    b.start(fabric.cluster.of("n2"))
    second.start({"thisNode": "n3", "nodes": [{**outsider, "asNumber": 65003}], "peers": [
        resource("n1", peerIP="198.18.0.1", asNumber=64512)]})
    assert until(lambda: a.established(2)), a.sessions()
    before, old = since(a), fabric.cluster.of("n1")
    CHANGES[change][0](fabric.cluster.input)
    new = fabric.cluster.of("n1")
    said = classify(fabric, old, new)
    assert said["kind"] == CHANGES[change][1]
    time.sleep(1)
    assert a.apply(new)["applied"]
    kept = {name for name in before if name not in said["removed"] + said["restarted"]}
    after = a.sessions()
    assert {n for n in kept if same_time(after[n]["since"], before[n])} == kept
    assert not any(same_time(after[n]["since"], before[n]) for n in said["restarted"])
    assert not any(n in after for n in said["removed"])
    assert all(n in after for n in said["added"])


def classify(fabric, old, new):
    files = []
    for name, value in (("old.json", old), ("new.json", new)):
        files.append(os.path.join(fabric.folder, name))
        with open(files[-1], "w") as f:
            json.dump(value, f)
    return json.loads(bgp.call("classify", *files, "-o", "json").stdout)


@needs_router
@pytest.mark.parametrize("how", ["graceful restart", "SIGKILL"])
def test_a_restart_of_bird_costs_peers_and_kernel_no_route(fabric, how):
    a, b = fabric.add(2)
    fabric.cluster.input["peers"] = [tor(node="n1")]
    fabric.start()
    router = fabric.add_router()
    router.announce(OUTSIDE)
    assert until(lambda: OUTSIDE in b.routes() and {a.block(), b.block()} <= set(router.rib()))
    a.restart() if how == "graceful restart" else a.kill()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert {a.block(), b.block()} <= set(router.rib()) and OUTSIDE in a.routes() and OUTSIDE in b.routes()
        time.sleep(0.1)
    a.start(recover=True)
    back = None
    end = time.monotonic() + 40
    while time.monotonic() < end and (back is None or time.monotonic() < back + 3):
        assert {a.block(), b.block()} <= set(router.rib()) and OUTSIDE in a.routes() and OUTSIDE in b.routes()
        if back is None and a.established(2):
            back = time.monotonic()
        time.sleep(0.1)
    assert back, a.sessions()


def test_reflectors_take_clients_without_a_change_of_their_configuration(fabric):
    nodes = fabric.add(4)
    fabric.cluster.input["configurations"] = [resource("default", meshMaxNodes=2)]
    fabric.start()
    reflectors = [n for n in nodes if "clients4" in open(n.config).read()]
    clients = [n for n in nodes if n not in reflectors]
    assert len(reflectors) == 2
    assert until(lambda: all(n.established(2) for n in clients)), clients[0].sessions()
    assert until(lambda: all(n.established(3) for n in reflectors)), reflectors[0].sessions()
    # Each client has the other's block, reflected.
    assert until(lambda: clients[1].block() in bird_shows(clients[0], "show route table master4"))
    (late,) = fabric.add(1)
    fabric.cluster.input["nodes"][-1]["ready"] = False  # not to be elected
    text = open(reflectors[0].config).read()
    assert bgp.call("render", stdin=json.dumps(fabric.cluster.of(reflectors[0].name))).stdout == text
    late.start(fabric.cluster.of(late.name))
    assert until(lambda: late.established(2)), late.sessions()
    assert until(lambda: late.block() in bird_shows(clients[0], "show route table master4"))


def test_a_reflector_by_its_cluster_id_passes_on_what_clients_have(fabric):
    reflector, a, b = fabric.add(3)
    nodes = fabric.cluster.input["nodes"]
    nodes[0].update(routeReflectorClusterID="10.0.0.1", labels={"reflector": "yes"})
    fabric.cluster.input["configurations"] = [resource("default", nodeToNodeMeshEnabled=False)]
    fabric.cluster.input["peers"] = [resource("rr", nodeSelector="!has(reflector)", peerSelector="reflector == 'yes'")]
    fabric.start()
    assert until(lambda: reflector.established(2) and a.established(1) and b.established(1)), reflector.sessions()
    assert until(lambda: b.block() in bird_shows(a, "show route table master4")), "a has no session with b"
    shown = bird_shows(a, f"show route {b.block()} all table master4")
    assert "BGP.cluster_list: 10.0.0.1" in shown and "BGP.originator_id: 198.18.0.3" in shown


@needs_router
def test_nodes_with_an_as_of_their_own(fabric):
    a, b = fabric.add(2)
    nodes = fabric.cluster.input["nodes"]
    nodes[0]["asNumber"], nodes[1]["asNumber"] = 65101, 65102
    fabric.cluster.input["peers"] = [tor(node="n1")]
    fabric.start()
    router = fabric.add_router(peer_as=65101)
    router.announce(OUTSIDE)
    assert until(lambda: a.established(2) and b.established(1)), a.sessions()
    assert until(lambda: a.block() in router.rib()) and router.rib()[a.block()] == [(65101,)]
    assert until(lambda: OUTSIDE in b.routes()), b.sessions()
    assert "BGP.as_path: 65101 65001" in bird_shows(b, f"show route {OUTSIDE} all table master4")


@needs_router
def test_communities_are_on_what_is_announced(fabric):
    (a,) = fabric.add(1)
    fabric.cluster.input["configurations"] = [resource(
        "default", communities=[{"name": "pods", "value": "65000:100"}],
        prefixAdvertisements=[{"cidr": "10.244.0.0/16", "communities": ["pods", "65000:1:2"]}])]
    fabric.cluster.input["peers"] = [tor()]
    fabric.cluster.input["services"] = ["10.96.0.1/32"]
    fabric.start()
    router = fabric.add_router()
    assert until(lambda: {a.block(), "10.96.0.1/32"} <= set(router.rib())), router.rib()
    pods, service = (router.gobgp("global", "rib", prefix) for prefix in (a.block(), "10.96.0.1/32"))
    assert "65000:100" in pods and "65000:1:2" in pods and "65000" not in service


@needs_router
def test_a_mesh_becomes_reflectors_without_losing_a_route(fabric):
    nodes = fabric.add(4)
    given = fabric.cluster.input
    given["peers"] = [tor(node="n1")]
    fabric.start()
    router = fabric.add_router()
    router.announce(OUTSIDE)
    assert until(lambda: all(OUTSIDE in n.routes() for n in nodes))
    mesh = {n.name: since(n) for n in nodes}

    given["configurations"] = [resource("default", meshMaxNodes=2)]
    given["topology"] = {"mesh": True, "reflectors": False}
    fabric.apply()  # both at once
    assert until(lambda: all(s["established"] for n in nodes for s in n.sessions().values() if "/" not in s["neighbor"])), [(n.name, s["name"], s["neighbor"], s["state"], s["lastError"]) for n in nodes for s in n.sessions().values()]
    for node in nodes:
        assert all(same_time(since(node)[name], then) for name, then in mesh[node.name].items())
        assert any(name.startswith(("reflector4", "client")) for name in since(node))
    given["topology"] = {"mesh": True, "reflectors": True}
    given["settled"] = True
    for node in nodes:
        node.apply(fabric.cluster.of(node.name))
        assert all(OUTSIDE in n.routes() for n in nodes)
    assert until(lambda: not any(name.startswith("node4") for n in nodes for name in n.sessions()))
    time.sleep(1)
    assert all(OUTSIDE in n.routes() for n in nodes)


def test_a_hundred_events_a_second_make_five_reloads_a_second(fabric, capsys):
    (a,) = fabric.add(1)
    fabric.start()
    process = bgp.applier(a.socket, a.config)
    start = time.monotonic()
    for i in range(300):
        fabric.cluster.input["services"] = [f"10.96.{i // 250}.{i % 250 + 1}/32"]
        process.stdin.write(json.dumps(fabric.cluster.of("n1")) + "\n")
        process.stdin.flush()
        time.sleep(max(0.0, start + (i + 1) / 100 - time.monotonic()))
    out, _ = process.communicate(timeout=30)
    seconds = time.monotonic() - start
    state = json.loads(out.splitlines()[-1])
    with capsys.disabled():
        print(f"\n  {300 / seconds:.0f} events/s: {state['reloads'] / seconds:.1f} reloads/s")
    assert state["applied"] and 1 < state["reloads"] <= 5 * seconds + 1
    assert "10.96.1.50/32" in bird_shows(a, "show route table master4")


def test_a_node_whose_name_would_be_configuration_changes_nothing(fabric):
    (a,) = fabric.add(1)
    fabric.start()
    before = open(a.config).read()
    fabric.cluster.input["nodes"][0]["name"] = "n1\" ; router id 1.1.1.1"
    done = bgp.call("apply", a.socket, a.config, stdin=json.dumps(fabric.cluster.of("n1")) + "\n", check=False)
    assert done.returncode != 0 and "node n1 is not there" in done.stderr
    assert open(a.config).read() == before


def test_the_supervisor_waits_for_bird_and_then_applies(fabric):
    (a,) = fabric.add(1)
    process = bgp.applier(a.socket, a.config)
    process.stdin.write(json.dumps(fabric.cluster.of("n1")) + "\n")
    process.stdin.close()
    state = json.loads(process.stdout.readline())
    assert not state["applied"] and not state["running"] and "No such file" in state["error"]
    assert until(lambda: os.path.exists(a.config))
    a.start()
    states = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.wait(30) == 0 and states[-1]["applied"] and states[-1]["running"]


PEERS = 1000


def know_neighbours(ns, other, addresses):
    """The kernel looks for 1,024 neighbours at a time, in all namespaces together: these would leave none to tests beside this one."""
    mac = json.loads(other.ip("-j", "link", "show", "eth0"))[0]["address"]
    ns.run("ip", "-batch", "-", stdin="".join(f"neigh replace {a} lladdr {mac} dev eth0 nud permanent\n" for a in addresses))


def emulate(fabric, count):
    """The first node with a mesh of `count` others, all of them in the second's BIRD."""
    a, emulator = fabric.add(2)
    a.ns.ip("address", "add", "198.18.0.1/16", "dev", "eth0")
    emulator.ns.run("ip", "-batch", "-", stdin="".join(f"address add {bgp.peer_address(i)}/16 dev eth0\n" for i in range(count)))
    know_neighbours(a.ns, emulator.ns, [bgp.peer_address(i) for i in range(count)])
    given = fabric.cluster.input
    given["nodes"] = [{"name": "n1", "ipv4": "198.18.0.1/16", "podBlocks": ["10.244.255.0/26"]}]
    given["nodes"] += [{"name": f"p{i}", "ipv4": f"{bgp.peer_address(i)}/16", "podBlocks": [bgp.peer_block(i)]} for i in range(count)]
    given["configurations"] = [resource("default", meshMaxNodes=5000)]
    emulator.start_text(bgp.many_nodes(count, "198.18.0.1"))
    return a, emulator


@pytest.mark.parametrize("change", ["restart time", "router id"])
def test_what_restarts_sessions_goes_to_a_tenth_of_the_peers_at_a_time(fabric, change):
    a, b = fabric.add(2)
    b.ns.run("ip", "-batch", "-", stdin="".join(f"address add {address6(i)}/64 dev eth0 nodad\n" for i in range(20)))
    b.start_text("router id 198.18.0.2;\nprotocol device {}\n" + "".join(
        f"protocol bgp p{i} {{ local {address6(i)} as 64512; strict bind on; multihop; passive on;"
        f" neighbor fd18::1 port {2000 + i} as 64512; ipv6 {{ import none; export none; }}; }}\n" for i in range(20)))
    given = fabric.cluster.input
    given["nodes"] = [{"name": "n1", "ipv4": "198.18.0.1/24", "ipv6": "fd18::1/64"}]  # the router id is its IPv4 address
    given["nodes"] += [{"name": f"p{i}", "ipv6": f"{address6(i)}/64"} for i in range(20)]
    a.start(fabric.cluster.of("n1"))
    assert until(lambda: a.established(20)), a.sessions()
    process = bgp.applier(a.socket, a.config)
    process.stdin.write(json.dumps(fabric.cluster.of("n1")) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["applied"]
    before = since(a)
    if change == "restart time":
        given["configurations"] = [resource("default", nodeMeshMaxRestartTime="60s")]
    else:
        given["nodes"][0]["ipv4"] = "198.18.0.11/24"
    process.stdin.write(json.dumps(fabric.cluster.of("n1")) + "\n")
    process.stdin.close()
    up = []
    while process.poll() is None:
        up.append(sum(s["established"] for s in a.sessions().values()))
        time.sleep(0.1)
    states = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert [s["stagesLeft"] for s in states] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], states
    assert states[-1]["lastChange"] == "restart"
    assert until(lambda: a.established(20)), a.sessions()
    assert not any(same_time(since(a)[name], then) for name, then in before.items())
    assert min(up) >= 18, up


def address6(i):
    return f"fd18::4:{i + 1:x}"


def test_a_thousand_peers_converge_and_a_restart_costs_no_route(fabric, capsys):
    a, emulator = emulate(fabric, PEERS)
    given = fabric.cluster.input
    begin = time.monotonic()
    a.start(fabric.cluster.of("n1"))
    assert until(lambda: all_routes(a), 240, 0.5), bird_shows(a, "show route count")
    converged = time.monotonic() - begin
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{a.bird.pid}/status").read()).group(1))

    begin = time.monotonic()
    given["services"] = ["10.96.0.1/32"]
    assert a.apply(fabric.cluster.of("n1"))["applied"]
    soft = time.monotonic() - begin

    def known():
        return emulator.ns.ip("route", "show", "table", "all", "10.244.255.0/26").count("table")
    assert until(lambda: known() == bgp.IMPORTERS), known()
    withdrawals = bgp.Withdrawals(emulator.ns, "10.244.255.0/26")
    begin = time.monotonic()
    a.restart()
    a.start(recover=True)
    restarted = until(lambda: all_established(a), 240) and time.monotonic() - begin
    time.sleep(5)
    lost = withdrawals.end()
    with capsys.disabled():
        print(f"\n  {PEERS} peers: routes of all after {converged:.1f} s, {rss / 1024:.0f} MB; model, check and soft"
              f" reload {soft:.2f} s; restart to all sessions {restarted or 0:.1f} s, own route withdrawn at peers: {len(lost)} times")
    assert restarted and all_established(a)
    assert not lost and known() == bgp.IMPORTERS
    assert rss < 64 * 1024


def all_routes(node):
    return bird_shows(node, "show route where source = RTS_BGP").count("[node4_p") >= PEERS


def all_established(node):
    return bird_shows(node, "show protocols").count("Established") >= PEERS
