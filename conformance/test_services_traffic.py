"""The role `services` on two nodes: which endpoints a packet reaches, and from which address, by kube-proxy's tables."""
import itertools
import socket
import time

import pytest

from lib import echo, netns, pair
from lib.echo import TCP, UDP
from lib.pair import APART, FAMILIES, NODE, POD, V4, V6, backend, place, service, slices

pytestmark = pytest.mark.netns

PROTOCOLS = (TCP, UDP)
EXTERNAL = ("NodePort", "LoadBalancer", "ExternalIP")
CLIENTS = {"pod": "a", "node": "n1", "external": "outside"}
LOCAL, REMOTE = "b", "c"
CLUSTER, OUTER, INNER = 1, 2, 3  # Services: without a policy, with externalTrafficPolicy Local, with internalTrafficPolicy Local
POLICIES = {CLUSTER: {}, OUTER: {"externalTrafficPolicy": "Local"}, INNER: {"internalTrafficPolicy": "Local"}}
L, LR = {LOCAL}, {LOCAL, REMOTE}

# Client, whether to the cluster IP, Service: endpoints, and whether the node's address is seen (kube-proxy, TestInternalExternalMasquerade).
DEFAULT = {
    **{(client, True, number): (L if number == INNER else LR, client != "pod") for client in CLIENTS for number in POLICIES},
    **{(client, False, number): (LR, True) for client in CLIENTS for number in (CLUSTER, INNER)},
    ("pod", False, OUTER): (LR, False),
    ("node", False, OUTER): (LR, True),
    ("external", False, OUTER): (L, False),
}
ALL = {row: (endpoints, True if row[1] else masquerade) for row, (endpoints, masquerade) in DEFAULT.items()}
NO_PODS = {**{row: (endpoints, False if row[1] else masquerade) for row, (endpoints, masquerade) in DEFAULT.items()},
           ("pod", False, OUTER): (L, False)}
TABLES = {"default": DEFAULT, "masqueradeAll": ALL, "no pod CIDRs": NO_PODS}


@pytest.fixture(scope="module", params=TABLES)
def table(request, tmp_path_factory):
    """Three Services with an endpoint on each node, and what becomes of packets to them."""
    spaces = netns.Namespaces()
    two = pair.Pair(spaces, tmp_path_factory.mktemp("pair"), {"masqueradeAll": request.param == "masqueradeAll"},
                    pod_cidrs=request.param != "no pod CIDRs")
    try:
        two.back_through_n1()
        two.start().set(*[o for number, policy in POLICIES.items()
                          for o in (service(number, ("n1", "n2"), **policy), *slices(number, LOCAL, REMOTE))])
        yield two, TABLES[request.param]
    finally:
        two.close()
        spaces.close()


@pytest.fixture
def two(spaces, tmp_path):
    one = pair.Pair(spaces, tmp_path / "pair")
    one.start()
    yield one
    one.close()


def kinds(inside):
    return ("ClusterIP",) if inside else EXTERNAL


def reaches(two, client, kind, number, endpoints, f, protocol, sees):
    """All of these endpoints, none besides, each seeing this address."""
    at, case, reached = place(kind, number, f), f"{client} to {kind} of s{number}, {f} {protocol}", set()
    wanted = {backend(pod, f) for pod in endpoints}
    for attempt in range(64):
        what, *who = two.ask(CLIENTS.get(client, client), *at, protocol)
        assert what == "forward", f"{case}: {what}"
        assert who[0] in wanted and who[1] == sees, f"{case}: reached {who}, wanted {wanted} to see {sees}"
        reached.add(who[0])
        if reached == wanted and attempt >= 7:
            return
    raise AssertionError(f"{case}: only {reached} of {wanted}")


def own_address(client, f):
    return {**APART, **POD, "outside": pair.OUTSIDE}[CLIENTS.get(client, client)][f]


@pytest.mark.parametrize("number", POLICIES, ids=["no policy", "external Local", "internal Local"])
@pytest.mark.parametrize("inside", [True, False], ids=["cluster IP", "external addresses"])
@pytest.mark.parametrize("client", CLIENTS)
def test_the_masquerade_table(table, client, inside, number):
    two, rows = table
    endpoints, masquerade = rows[client, inside, number]
    for kind, f, protocol in itertools.product(kinds(inside), FAMILIES, PROTOCOLS):
        reaches(two, client, kind, number, endpoints, f, protocol, NODE["n1"][f] if masquerade else own_address(client, f))


def test_policy_local_drops_what_comes_from_outside_to_a_node_without_endpoints(two):
    two.set(service(OUTER, ("n1", "n2"), externalTrafficPolicy="Local"), *slices(OUTER, LOCAL))
    for kind, f, protocol in itertools.product(EXTERNAL, FAMILIES, PROTOCOLS):
        at = place(kind, OUTER, f, "n2")
        assert two.ask("outside", *at, protocol, timeout=0.5) == ("drop",), (kind, f, protocol)
        for client, sees in (("c", POD["c"][f]), ("n2", NODE["n2"][f])):
            assert two.ask(client, *at, protocol) == ("forward", backend(LOCAL, f), sees), (client, kind, f, protocol)
        assert two.ask("outside", *place(kind, OUTER, f), protocol) == ("forward", backend(LOCAL, f), pair.OUTSIDE[f])


def test_internal_policy_local_drops_on_a_node_without_endpoints(two):
    two.set(service(INNER, internalTrafficPolicy="Local"), *slices(INNER, REMOTE))
    for client, f, protocol in itertools.product(CLIENTS.values(), FAMILIES, PROTOCOLS):
        assert two.ask(client, *place("ClusterIP", INNER, f), protocol, timeout=0.5) == ("drop",), (client, f, protocol)
        assert two.ask("c", *place("ClusterIP", INNER, f), protocol)[0] == "forward", "n2 has the endpoint"


@pytest.mark.parametrize("policies", [{}, {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}], ids=["Cluster", "Local"])
def test_without_endpoints_everybody_is_refused(two, policies):
    two.set(service(1, **policies), *slices(1, LOCAL, conditions={"ready": False, "serving": False}))
    for kind, client, f, protocol in itertools.product(("ClusterIP", *EXTERNAL), CLIENTS.values(), FAMILIES, PROTOCOLS):
        assert two.ask(client, *place(kind, 1, f), protocol) == ("reject",), (kind, client, f, protocol)


def test_other_ports_of_a_cluster_ip_are_refused_and_of_the_node_are_its_own(two):
    two.set(service(1), *slices(1, LOCAL))
    for client, f, protocol in itertools.product(CLIENTS.values(), FAMILIES, PROTOCOLS):
        assert two.ask(client, place("ClusterIP", 1, f)[0], 81, protocol) == ("reject",), (client, f, protocol)
    with echo.listening(two.spaces["n1"], 30099):
        for f in FAMILIES:
            echo.connects(two.spaces["outside"], NODE["n1"][f], 30099)


def test_established_connections_outlive_their_endpoint(two):
    """Verdicts are for new connections, and TCP is never cut (kubernetes issue 101607)."""
    two.set(service(1), *slices(1, LOCAL, port=9000))
    held = []
    for f in FAMILIES:
        with two.spaces[LOCAL].enter():
            server = socket.create_server((POD[LOCAL][f], 9000), family=socket.AF_INET6 if f == V6 else socket.AF_INET)
        with server, two.spaces["outside"].enter():
            held.append((socket.create_connection(place("ClusterIP", 1, f), timeout=5), server.accept()[0]))
    for objects in ([service(1), *slices(1, REMOTE)], [service(1)], []):
        two.set(*objects)
        for client, server in held:
            client.sendall(b"?")
            assert server.recv(1) == b"?"
            server.sendall(b"!")
            assert client.recv(1) == b"!"
    for one in itertools.chain(*held):
        one.close()


def test_a_pod_reaches_itself_through_its_service(two):
    two.set(service(1), *slices(1, "a"))
    for kind, f, protocol in itertools.product(("ClusterIP", *EXTERNAL), FAMILIES, PROTOCOLS):
        assert two.ask("a", *place(kind, 1, f), protocol) == ("forward", backend("a", f), NODE["n1"][f]), (kind, f, protocol)


def test_a_pod_reaches_a_node_port_of_another_node(two):
    two.set(service(1), *slices(1, "b"))
    for f, protocol in itertools.product(FAMILIES, PROTOCOLS):
        assert two.ask("a", *place("NodePort", 1, f, "n2"), protocol) == ("forward", backend("b", f), NODE["n2"][f])


STICKY = {"sessionAffinity": "ClientIP"}
EVERYWHERE = tuple(POD)


def chosen(two, f, protocol=TCP, times=32, client="outside"):
    """The endpoints that so many connections reach."""
    answers = [two.ask(client, *place(kind, 1, f), protocol) for _, kind in zip(range(times), itertools.cycle(("ClusterIP", *EXTERNAL)))]
    assert all(a[0] == "forward" for a in answers), answers
    return {a[1] for a in answers}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_affinity_is_switched_on_and_off(two, protocol):
    for f in FAMILIES:
        for spec, alone in (({}, False), (STICKY, True), ({"sessionAffinity": "None"}, False), (STICKY, True)):
            two.set(service(1, **spec), *slices(1, *EVERYWHERE))
            assert (len(chosen(two, f, protocol)) == 1) == alone, (spec, f)


def test_affinity_ends_after_its_timeout(two):
    """Another endpoint is as likely as not to be chosen when the time is over: often enough it comes."""
    timeout = {**STICKY, "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}
    two.set(service(1, **timeout), *slices(1, *EVERYWHERE))
    for f in FAMILIES:
        first = two.ask("outside", *place("ClusterIP", 1, f))
        for _ in range(20):
            time.sleep(1.2)
            if two.ask("outside", *place("ClusterIP", 1, f)) != first:
                break
        else:
            raise AssertionError(f"{f}: twenty times {first}")


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_affinity_is_renewed_by_use(two, kind):
    """Five times as long as the timeout, with less than it between two connections."""
    two.set(service(1, **STICKY, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 2}}), *slices(1, *EVERYWHERE))
    reached = {f: set() for f in FAMILIES}
    for _ in range(15):
        for f in FAMILIES:
            reached[f].add(two.ask("outside", *place(kind, 1, f))[1])
        time.sleep(0.7)
    assert all(len(ends) == 1 for ends in reached.values()), reached


def test_affinity_with_policy_local_stays_on_the_node(two):
    two.set(service(1, externalTrafficPolicy="Local", **STICKY), *slices(1, *EVERYWHERE))
    for f in FAMILIES:
        reached = {two.ask("outside", *place(kind, 1, f))[1] for kind in EXTERNAL * 4}
        assert len(reached) == 1 and reached <= {backend("a", f), backend("b", f)}, reached


def ranges(*who):
    networks = {"outside": ["198.18.9.0/24", "fd18:9::/64"], "pod": ["10.1.0.0/24", "fd01::/64"], "node": [*NODE["n1"].values()],
                "nobody": ["192.0.2.0/24", "2001:db8::/32"]}
    return {"loadBalancerSourceRanges": [n if "/" in n else n + ("/128" if ":" in n else "/32") for w in who for n in networks[w]]}


@pytest.mark.parametrize("allowed", [("outside",), ("pod",), ("node",), ("nobody",), ("outside", "pod", "node")], ids=" ".join)
def test_load_balancer_source_ranges(two, allowed):
    two.set(service(1, **ranges(*allowed)), *slices(1, LOCAL))
    for (who, client), f, protocol in itertools.product((("outside", "outside"), ("pod", "a"), ("node", "n1")), FAMILIES, PROTOCOLS):
        source = NODE["n1"][f] if who == "node" else None
        wanted = "forward" if who in allowed else "drop"
        for kind in ("ClusterIP", "ExternalIP", "NodePort"):
            assert two.ask(client, *place(kind, 1, f), protocol, source)[0] == "forward", f"ranges do not matter to {kind}"
        said = two.ask(client, *place("LoadBalancer", 1, f), protocol, source, timeout=5 if wanted == "forward" else 0.5)
        assert said[0] == wanted, (who, f, protocol, said)


def test_a_node_with_the_balancers_address_reaches_itself_by_it(two):
    """Where a load balancer binds its address to the node, this is also the source (kube-proxy's rule for that case)."""
    vips = [pair.vip("LoadBalancer", 1, f) for f in FAMILIES]
    for vip in vips:
        two.spaces["n1"].ip("address", "add", vip, "dev", "apart", *(["nodad"] if ":" in vip else []))
    for allowed, wanted in (("node", "forward"), ("outside", "drop")):
        two.set(service(1, **ranges(allowed)), *slices(1, LOCAL))
        for vip, protocol in itertools.product(vips, PROTOCOLS):
            said = two.ask("n1", vip, 80, protocol, source=vip, timeout=5 if wanted == "forward" else 0.5)
            assert said[0] == wanted, (allowed, vip, protocol, said)


class Talker:
    """One UDP socket that goes on asking."""

    def __init__(self, two, client, address, port):
        self.at = (address, port)
        with two.spaces[client].enter():
            self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(1)

    def ask(self):
        """Who answers, or what came instead."""
        try:
            self.socket.sendto(b"?", self.at)
            endpoint, port, _ = self.socket.recv(100).decode().split()
            return echo.shown(endpoint, int(port))
        except OSError as error:
            return type(error).__name__

    def until(self, wanted, patience=20):
        """A datagram may be on its way with the old endpoint when the new one is programmed; not twenty."""
        answers = []
        while not answers or answers[-1] not in wanted:
            assert len(answers) < patience, f"{self.at}: {answers}"
            answers.append(self.ask())


@pytest.mark.parametrize("client", ["a", "outside", "n1"])
@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_a_udp_client_that_goes_on_asking_follows_its_service(two, client, kind):
    """To another endpoint, to none, back, deleted and made again: no flow may stay behind (kubernetes issues 139629, 141371, 48370)."""
    nowhere = {"ConnectionRefusedError", "TimeoutError", "OSError", "PermissionError"}  # the last: what this host refuses to itself
    steps = [([service(1), *slices(1, LOCAL)], {LOCAL}), ([service(1), *slices(1, REMOTE)], {REMOTE}), ([service(1)], None),
             ([service(1), *slices(1, LOCAL)], {LOCAL}), ([], None), ([service(1), *slices(1, REMOTE)], {REMOTE}), ([], None),
             ([service(1), *slices(1, LOCAL, port=8081)], {LOCAL})]
    two.set(service(1))
    talkers = {f: Talker(two, client, *place(kind, 1, f)) for f in FAMILIES}
    for objects, wanted in steps:
        two.set(*objects)
        port = 8081 if objects == steps[-1][0] else 8080
        for f, talker in talkers.items():
            talker.until({backend(pod, f, port) for pod in wanted} if wanted else nowhere)
    for talker in talkers.values():
        talker.socket.close()


def node_port_open(two, address, protocol=TCP):
    """Where it is not, the packet is the node's own, which has nobody there."""
    return two.ask("outside", address, 30001, protocol)[0] == "forward"


@pytest.mark.parametrize("networks, at_apart", [(None, False), (["primary"], False), (["10.255.0.0/16", "fd55::/64"], True), (["0.0.0.0/0", "::/0"], True)],
                         ids=["default", "primary", "other networks", "all"])
def test_node_ports_are_open_at_the_configured_addresses_only(spaces, tmp_path, networks, at_apart):
    two = pair.Pair(spaces, tmp_path / "pair", {"nodePortAddresses": networks} if networks else None)
    try:
        two.start().set(service(1), *slices(1, LOCAL))
        at_primary = networks is None or networks[0] in ("primary", "0.0.0.0/0")
        for f, protocol in itertools.product(FAMILIES, PROTOCOLS):
            assert node_port_open(two, NODE["n1"][f], protocol) == at_primary, f"{NODE['n1'][f]} {protocol}"
            assert node_port_open(two, APART["n1"][f], protocol) == at_apart, f"{APART['n1'][f]} {protocol}"
    finally:
        two.close()


def test_addresses_that_come_and_go_are_followed(spaces, tmp_path):
    two = pair.Pair(spaces, tmp_path / "pair", {"nodePortAddresses": ["10.255.0.0/16", "fd55::/64"]})
    more = {V4: "10.255.1.1", V6: "fd55::1:1"}
    try:
        two.start().set(service(1), *slices(1, LOCAL))
        for f in FAMILIES:
            two.spaces["router"].ip("route", "add", more[f], "via", NODE["n1"][f])
        for change, is_open in (("add", True), ("delete", False), ("add", True)):
            for f in FAMILIES:
                two.spaces["n1"].ip("address", change, more[f], "dev", "apart", *(["nodad"] if f == V6 and change == "add" else []))
            two.daemons["n1"].await_(lambda: all(
                (two.daemons["n1"].get(f"/v1/services/trace?source={pair.OUTSIDE[f]}&address={more[f]}&port=30001")["verdict"] == "forward") == is_open
                for f in FAMILIES))
            for f in FAMILIES:
                said = two.ask("outside", more[f], 30001, timeout=5 if is_open else 0.5)
                assert (said[0] == "forward") == is_open, (change, f, said)
    finally:
        two.close()


@pytest.mark.parametrize("size", [1400, 8000, 60000])
def test_large_udp_requests_in_fragments(two, size):
    two.set(service(1), *slices(1, REMOTE))
    for kind, client, f in itertools.product(("ClusterIP", "NodePort"), CLIENTS.values(), FAMILIES):
        assert two.ask(client, *place(kind, 1, f), UDP, size=size)[:2] == ("forward", backend(REMOTE, f)), (kind, client, f)
