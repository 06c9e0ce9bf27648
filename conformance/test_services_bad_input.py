"""Services and slices that are wrong, double or very many: one clear message each, and no packet of another Service is lost."""
import copy
import itertools
import re

import pytest

from lib import echo, netns, pair
from lib.cluster import wait_until
from lib.echo import TCP, UDP
from lib.pair import FAMILIES, NODE, V4, backend, place, service, slices

pytestmark = pytest.mark.netns

SHOWN = 20  # complaints; what is beyond is only counted
NOT_A_LIST, NOT_AN_OBJECT, NOT_A_TEXT = ["x", 7, {"a": 1}], ["x", 7, ["x"]], [7, ["x"], {"a": 1}, True]
NOT_A_BOOLEAN = ["yes", 1, []]
NOT_AN_ADDRESS = [["nonsense"], ["10.0.0.256"], ["10.0.0.1/32"], ["fd00::1::2"], [7], [{}]]
SPECIAL = [["0.0.0.0"], ["::"], ["127.0.0.1"], ["::1"], ["169.254.1.1"], ["fe80::1"], ["224.0.0.1"], ["ff02::1"]]  # ValidateNonSpecialIP of the API server
NOT_A_PORT = [-1, 65536, 2**63, 1.5, "80", {}]

# Field of a Service: values it cannot have. A path's last part is what is replaced in an otherwise right object.
SERVICE = {
    "metadata.labels": ["x", ["x"], {"a": 1}],
    "spec": NOT_AN_OBJECT,
    "spec.type": ["Nothing", *NOT_A_TEXT],
    "spec.clusterIPs": [*NOT_A_LIST, *NOT_AN_ADDRESS, *SPECIAL],
    "spec.ports": [*NOT_A_LIST, ["x"]],
    "spec.ports[0].name": NOT_A_TEXT,
    "spec.ports[1].name": ["tcp"],
    "spec.ports[0].protocol": ["tcp", "ICMP", "", *NOT_A_TEXT],
    "spec.ports[0].port": [None, 0, *NOT_A_PORT],
    "spec.ports[1]": [{"name": "again", "port": 80, "protocol": TCP}],
    "spec.ports[0].nodePort": NOT_A_PORT,
    "spec.externalIPs": [*NOT_A_LIST, *NOT_AN_ADDRESS, *SPECIAL],
    "spec.externalTrafficPolicy": ["local", "", *NOT_A_TEXT],
    "spec.internalTrafficPolicy": ["local", "", *NOT_A_TEXT],
    "spec.sessionAffinity": ["clientip", *NOT_A_TEXT],
    "spec.sessionAffinityConfig": NOT_AN_OBJECT,
    "spec.sessionAffinityConfig.clientIP": NOT_AN_OBJECT,
    "spec.sessionAffinityConfig.clientIP.timeoutSeconds": [0, -1, 86401, 2**63, "3h", []],
    "spec.loadBalancerSourceRanges": [*NOT_A_LIST, ["nonsense"], ["10.0.0.0/33"], ["fd00::/129"], ["10.0.0.1/8/8"], [7]],
    "spec.healthCheckNodePort": NOT_A_PORT,
    "status": NOT_AN_OBJECT,
    "status.loadBalancer": NOT_AN_OBJECT,
    "status.loadBalancer.ingress": [*NOT_A_LIST, ["x"]],
    "status.loadBalancer.ingress[0].ip": ["nonsense", "10.0.0.0/8", *NOT_A_TEXT, "0.0.0.0", "::"],
    "status.loadBalancer.ingress[0].ipMode": ["vip", *NOT_A_TEXT],
}
SLICE = {
    "metadata.labels": ["x", ["x"]],
    "addressType": ["ipv4", *NOT_A_TEXT],
    "ports": [*NOT_A_LIST, ["x"]],
    "ports[0].name": NOT_A_TEXT,
    "ports[0].protocol": ["tcp", "ICMP", *NOT_A_TEXT],
    "ports[0].port": NOT_A_PORT,
    "endpoints": [*NOT_A_LIST, ["x"]],
    "endpoints[0].addresses": [*NOT_A_LIST, *NOT_AN_ADDRESS, *SPECIAL],
    "endpoints[0].nodeName": NOT_A_TEXT,
    "endpoints[0].conditions": NOT_AN_OBJECT,
    "endpoints[0].conditions.ready": NOT_A_BOOLEAN,
    "endpoints[0].conditions.serving": NOT_A_BOOLEAN,
    "endpoints[0].conditions.terminating": NOT_A_BOOLEAN,
    "endpoints[0].hints": NOT_AN_OBJECT,
    "endpoints[0].hints.forZones": [*NOT_A_LIST, ["x"]],
    "endpoints[0].hints.forZones[0].name": NOT_A_TEXT,
    "endpoints[0].hints.forNodes": [*NOT_A_LIST, ["x"]],
    "endpoints[0].hints.forNodes[0].name": NOT_A_TEXT,
}
FIELDS = {"Service": SERVICE, "EndpointSlice": SLICE}


def right(kind, number):
    """An object with every field of the table."""
    if kind == "EndpointSlice":
        one = slices(2, "d", name=f"bad-{number}")[0]
        one["metadata"]["name"] = f"bad-{number}"
        one["endpoints"][0]["hints"] = {"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}
        return one
    one = service(2, name=f"bad-{number}", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    return one


def with_value(one, path, value):
    """The object with this value at "a.b[0].c"; None: without the field."""
    one = copy.deepcopy(one)
    *way, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
    at = one
    for step in way:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return one


def wrong(kind):
    """(path, value, object) for every value of the table."""
    pairs = [(path, value) for path, values in FIELDS[kind].items() for value in values]
    return [(path, value, with_value(right(kind, number), path, value)) for number, (path, value) in enumerate(pairs)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A Service that must always work, s1."""
    spaces = netns.Namespaces()
    two = pair.Pair(spaces, tmp_path_factory.mktemp("bad"))
    try:
        two.start().set(service(1), *slices(1, "b", "c"))
        yield two
    finally:
        two.close()
        spaces.close()


def works(two, number=1, pods=("b", "c")):
    for kind, f, protocol in itertools.product(("ClusterIP", "NodePort"), FAMILIES, (TCP, UDP)):
        said = two.ask("outside", *place(kind, number, f), protocol)
        assert said[0] == "forward" and said[1] in {backend(pod, f) for pod in pods}, (kind, f, protocol, said)


@pytest.fixture
def undisturbed(one):
    """Afterwards nothing is left, and nothing was moved meanwhile."""
    n1 = one.daemons["n1"]
    before = n1.elements()
    yield before
    one.put([], "bad.json")
    n1.await_(lambda: not n1.complaints() and n1.elements() == before)
    works(one)


def messages(two, objects):
    """What the daemon says, once it has something to say about each of them."""
    two.put(objects, "bad.json")
    n1 = two.daemons["n1"]
    wanted = [f"{o['kind']} test/{o['metadata']['name']}: " for o in objects]

    def said():
        whats = n1.complaints()
        return whats if all(any(what.startswith(want) for what in whats) for want in wanted) else None
    return wait_until(said, lambda: f"nothing about {[w for w in wanted if not any(c.startswith(w) for c in n1.complaints())]}")


@pytest.mark.parametrize("kind", FIELDS)
def test_each_wrong_field_is_named_and_disturbs_nobody(one, undisturbed, kind):
    n1 = one.daemons["n1"]
    lines, cases = n1.log().count(f"{kind} is malformed"), wrong(kind)
    for at in range(0, len(cases), SHOWN):
        some = cases[at:at + SHOWN]
        whats = messages(one, [obj for _, _, obj in some])
        assert len(whats) == len(some), f"one message each: {whats}"
        for path, value, obj in some:
            (what,) = [w for w in whats if w.startswith(f"{kind} test/{obj['metadata']['name']}: ")]
            assert re.search(re.escape(path.removesuffix("[1]")) + r"(?![A-Za-z0-9])", what), f"{path} = {value}: {what}"
            assert len(what) < 1000 and what.endswith("ignored"), what
        assert n1.elements() == undisturbed
        works(one)
    assert n1.log().count(f"{kind} is malformed") <= lines + 3, "at most one line in half a minute"


@pytest.mark.parametrize("what", ["Service", "EndpointSlice"])
def test_an_object_that_turns_bad_keeps_its_effect(one, undisturbed, what):
    good = [service(2), *slices(2, "d")]
    one.put(good, "bad.json")
    n1 = one.daemons["n1"]
    n1.await_(lambda: any(r["service"] == "test/s2" and r["endpoints"] for r in n1.rows()))
    path, value = {"Service": ("spec.ports[0].port", 0), "EndpointSlice": ("ports[0].port", -1)}[what]
    one.put([with_value(o, path, value) if o["kind"] == what else o for o in good], "bad.json")
    whats = n1.await_(n1.complaints)
    assert all(path in w and w.endswith("keeping the last good object") for w in whats), whats
    works(one, 2, ("d",))


def test_a_malformed_service_beside_ten_thousand_others(one, undisturbed):
    n1 = one.daemons["n1"]
    lines = n1.log().count("malformed")
    one.put([with_value(right(kind, i), path, value) for kind, path, value in
             (("Service", "spec.type", "x"), ("EndpointSlice", "addressType", "x")) for i in range(5000)], "bad.json")
    whats = n1.await_(lambda: len(n1.complaints()) > SHOWN and n1.complaints())
    assert len(whats) == SHOWN + 1 and whats[-1] == f"{10000 - SHOWN} more are wrong", whats[-1]
    assert n1.log().count("malformed") <= lines + 4, "one line for each kind, and then their number"
    works(one)


# Claims

def holds(two, at, pod, protocol=TCP):
    f = pair.family_of(at[0])
    for client in ("a", "n1", "outside"):
        said = two.ask(client, *at, protocol)
        assert said[:2] == ("forward", backend(pod, f)), (client, at, said)


CLAIMS = {
    "ClusterIP": lambda: {"clusterIPs": [pair.CLUSTER_IPS[f].format(1) for f in FAMILIES]},
    "NodePort": lambda: {"ports": [{**p, "nodePort": 30001} for p in service(1)["spec"]["ports"]]},
    "ExternalIP": lambda: {"externalIPs": [pair.vip("ExternalIP", 1, f) for f in FAMILIES]},
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_who_claims_what_another_has_does_not_get_it(spaces, tmp_path, kind):
    """First in the order of names, as the order of arrival differs between nodes and from one life to the next."""
    two = pair.Pair(spaces, tmp_path / "pair").start()
    n1, ours = two.daemons["n1"], [service(1), *slices(1, "b")]
    theirs = [service(2, name="thief", **CLAIMS[kind]()), *slices(2, "d", name="thief")]
    theirs[0]["status"] = {}
    try:
        for objects in ([*ours, *theirs], [*theirs, *ours]):
            two.set(*objects)
            for f in FAMILIES:
                holds(two, place(kind, 1, f), "b")
                assert any(f"test/thief does not get {claimed(kind, f)}" in w and "test/s1" in w for w in n1.complaints()), n1.complaints()
        two.set(*theirs)
        for f in FAMILIES:
            holds(two, place(kind, 1, f), "d")
        assert not n1.complaints()
    finally:
        two.close()


def claimed(kind, f):
    address, port = place(kind, 1, f)
    return f"{f} node port {port}/TCP" if kind == "NodePort" else f"{echo.shown(address, port)}/TCP"


@pytest.mark.parametrize("field", ["externalIPs", "ingress"])
def test_nobody_takes_a_cluster_ip_by_calling_it_external(spaces, tmp_path, field):
    """CVE-2020-8554: whoever may write a Service could draw the packets of another's cluster IP to himself; not even with an earlier name."""
    two = pair.Pair(spaces, tmp_path / "pair").start()
    victim = [pair.CLUSTER_IPS[f].format(1) for f in FAMILIES]
    thief = service(2, name="a-thief", externalIPs=victim if field == "externalIPs" else [])
    thief["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in victim]}} if field == "ingress" else {}
    try:
        two.set(thief, *slices(2, "d", name="a-thief"), service(1), *slices(1, "b"))
        for f in FAMILIES:
            holds(two, place("ClusterIP", 1, f), "b")
            holds(two, place("ClusterIP", 2, f), "d")
        whats = two.daemons["n1"].complaints()
        assert sum("test/a-thief does not get" in w for w in whats) == 4, whats
    finally:
        two.close()


# Many, and in an odd order

def many_endpoints(count):
    """Slices of a thousand, as the API server has them at most."""
    ports = [{"name": p.lower(), "protocol": p, "port": 8080} for p in (TCP, UDP)]
    for start in range(0, count, 1000):
        yield {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": V4, "ports": ports,
               "metadata": {"name": f"big-{start}", "namespace": "test", "labels": {"kubernetes.io/service-name": "big"}},
               "endpoints": [{"addresses": [f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}"], "nodeName": "n2"}
                             for i in range(start, start + 1000)]}


def test_a_service_with_a_hundred_thousand_endpoints(spaces, tmp_path):
    two = pair.Pair(spaces, tmp_path / "pair")
    n1 = two.daemons["n1"]
    n1.start()
    try:
        two.set(service(1), *slices(1, "b", "c"))
        small = n1.memory("VmRSS")
        big = service(2, name="big", clusterIPs=["10.96.0.2"], externalIPs=[])
        big.update(status={}), big["spec"].update(ports=big["spec"]["ports"][:1])
        two.set(service(1), *slices(1, "b", "c"), big, *many_endpoints(100_000))
        works(two)
        peak = n1.memory("VmHWM")
        print(f"{small} KiB, and with 100,000 endpoints at most {peak} KiB")
        assert peak < small + 300 * 1024
        assert two.ask("outside", "10.96.0.2", 80, timeout=0.5) == ("unreachable",), "one of the endpoints was chosen, of which none exists"
        two.set(service(1), *slices(1, "b", "c"), big, *slices(2, "d", name="big"))
        assert two.ask("outside", "10.96.0.2", 80)[:2] == ("forward", backend("d", V4))
    finally:
        two.close()


def test_a_thousand_slices_of_no_service_wait_for_theirs(one, undisturbed):
    n1 = one.daemons["n1"]
    small = n1.memory("VmRSS")
    orphans = [o for i in range(500) for o in slices(2, "d", name=f"later-{i}")]
    one.put([*orphans, *slices(2, "d", name="z-here")], "bad.json")
    works(one)
    one.put([*orphans, *slices(2, "d", name="z-here"), service(2, name="z-here")], "bad.json")
    n1.await_(lambda: any(r["service"] == "test/z-here" and r["endpoints"] for r in n1.rows()))
    works(one, 2, ("d",))
    assert not [r for r in n1.rows() if r["service"].startswith("test/later")]
    print(f"{small} KiB, and with 1,000 slices of no Service {n1.memory('VmRSS')} KiB")
    assert n1.memory("VmRSS") < small + 50 * 1024


def test_slices_of_another_family_than_the_service_do_not_matter(one, undisturbed):
    n1 = one.daemons["n1"]
    only4 = service(2, clusterIPs=[pair.CLUSTER_IPS[V4].format(2)])
    odd = [{**s, "addressType": "FQDN", "metadata": {**s["metadata"], "name": f"name-{s['metadata']['name']}"},
            "endpoints": [{"addresses": ["example.org"], "nodeName": "n1"}]} for s in slices(2, "d")]
    one.put([only4, *slices(2, "d"), *odd], "bad.json")
    n1.await_(lambda: any(r["service"] == "test/s2" and r["endpoints"] for r in n1.rows()))
    assert {r["family"] for r in n1.rows() if r["service"] == "test/s2"} == {V4}
    assert one.ask("outside", *place("ClusterIP", 2, V4))[:2] == ("forward", backend("d", V4))
    assert n1.complaints() == []


def own_address(field):
    """A Service of which all addresses of this kind are n1's."""
    own = [NODE["n1"][f] for f in FAMILIES]
    thief = service(2, externalIPs=own if field == "externalIPs" else [], **({"clusterIPs": own} if field == "clusterIPs" else {}))
    thief["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in own]}} if field == "ingress" else {}
    return thief


@pytest.mark.parametrize("field", ["clusterIPs", "externalIPs", "ingress"])
def test_a_service_with_the_nodes_own_address_does_not_cut_it_off(one, undisturbed, field):
    """A load balancer may give a node's port to a Service; all else is still the node's (kubernetes issues 127410, 93175)."""
    n1 = one.daemons["n1"]
    one.put([own_address(field), *slices(2, "d")], "bad.json")
    n1.await_(lambda: any(r["service"] == "test/s2" for r in n1.rows()))
    works(one)
    for f in FAMILIES:
        complaint = f"test/s2 does not get the cluster IP {NODE['n1'][f]}, which is this node's own"
        assert (complaint in n1.complaints()) == (field == "clusterIPs"), n1.complaints()
        wanted = ("reject",) if field == "clusterIPs" else ("forward", backend("d", f))
        assert one.ask("outside", NODE["n1"][f], 80)[:2] == wanted
        with echo.listening(one.spaces["n1"], 2222):
            echo.connects(one.spaces["outside"], NODE["n1"][f], 2222)
