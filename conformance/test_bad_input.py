"""Objects that are wrong: one clear message each, and nothing else is affected: not a route, not BIRD's configuration."""
import copy
import glob
import itertools
import json
import os
import re

import pytest
import yaml

from lib import bgp, cni, fabric, netns, traffic
from lib.cluster import V4, wait_until
from lib.fabric import culvert

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not os.path.exists(bgp.BIRD), reason="BIRD is not installed (package bird2)"),
]
SHOWN = 20  # of one kind; what is beyond is only counted


def schema_of(file):
    with open(file) as f:
        definition = yaml.safe_load(f)["spec"]
    return definition["names"]["kind"], definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


SCHEMAS = dict(schema_of(file) for file in sorted(glob.glob(os.path.join(cni.ROOT, "deploy/crds/*.yaml"))))

# A right object of each kind, into which one wrong value at a time is put.
RIGHT = {
    "IPPool": {"cidr": "10.66.0.0/16", "encapsulation": "vxlan-l3"},
    "AddressBlock": {"cidr": "10.66.1.0/26", "node": "n9"},
    "BGPConfiguration": {},
    "BGPPeer": {"peerIP": "198.18.1.200", "asNumber": 64999},
    "BGPFilter": {},
}
RULE = {"action": "Accept"}
# What an item of a list, or an object, needs besides the value.
AROUND = {"communities[]": {"name": "c", "value": "1:1"}, "prefixAdvertisements[]": {"cidr": "10.1.0.0/16", "communities": ["1:1"]},
          "prefixLength": {}, "secretKeyRef": {"name": "n", "key": "k"}, "importLimit": {"prefixes": 1}, "exportLimit": {"prefixes": 1},
          **{f"{way}V{family}[]": RULE for way in ("import", "export") for family in "46"}}

# What is out of range where the schema cannot say so; no value: any text is right.
NOT_A_PREFIX = ["10.0.0.1/8", "10.0.0.0/33", "nonsense"]
DURATION = ["0s", "4096s", "99999999999999999999s"]
SELECTOR = ["has(", "a === 'b'"]
BY_HAND = {
    "IPPool.cidr": NOT_A_PREFIX + ["127.0.0.0/8", "ff00::/8"], "IPPool.blockSize": [19, 33, 15], "IPPool.nodeSelector": SELECTOR,
    "AddressBlock.cidr": NOT_A_PREFIX, "AddressBlock.node": [""], "AddressBlock.nodeUID": [], "AddressBlock.pool": [],
    "BGPConfiguration.localWorkloadPeeringIPV4": ["fd00::1", "x"], "BGPConfiguration.localWorkloadPeeringIPV6": ["10.0.0.1", "x"],
    "BGPConfiguration.nodeRanges[]": NOT_A_PREFIX, "BGPConfiguration.prefixAdvertisements[].cidr": NOT_A_PREFIX,
    "BGPConfiguration.prefixAdvertisements[].communities[]": ["no such name", "1:99999999999"],
    "BGPConfiguration.serviceClusterIPs[].cidr": NOT_A_PREFIX, "BGPConfiguration.serviceExternalIPs[].cidr": NOT_A_PREFIX,
    "BGPConfiguration.serviceLoadBalancerIPs[].cidr": NOT_A_PREFIX, "BGPConfiguration.nodeMeshMaxRestartTime": DURATION,
    "BGPConfiguration.gracefulRestart.restartTime": DURATION, "BGPConfiguration.gracefulRestart.longLivedStaleTime": ["16777216s"],
    "BGPConfiguration.communities[].value": ["65536:1", "1:65536"],
    "BGPPeer.filters[]": [], "BGPPeer.node": [], "BGPPeer.peerIP": ["nowhere", "198.18.1.1:0", "198.18.1.1:65536", "10.0.0.0/8"],
    "BGPPeer.reachableBy": ["nowhere", "fd00::1"], "BGPPeer.nodeSelector": SELECTOR, "BGPPeer.peerSelector": SELECTOR,
    "BGPPeer.keepaliveTime": ["0s", "21846s"], "BGPPeer.maxRestartTime": DURATION, "BGPPeer.gracefulRestart.restartTime": DURATION,
    "BGPPeer.gracefulRestart.longLivedStaleTime": ["16777216s"],
    **{f"BGPFilter.{way}V4[].cidr": NOT_A_PREFIX + ["fd00::/8"] for way in ("import", "export")},
    **{f"BGPFilter.{way}V6[].cidr": ["fd00::1/8", "fd00::/129", "nonsense", "10.0.0.0/8"] for way in ("import", "export")},
    **{f"BGPFilter.{way}V{family}[].{field}": ["65536:1", "1:65536"] for way in ("import", "export") for family in "46"
       for field in ("communities.values[]", "operations[].addCommunity.value")},
}

# A breach of each rule between fields, by the rule's message; None: needs the object as it was before.
BREACHES = {
    "IPPool: cidr cannot be changed": None,
    "IPPool: tunnelMode needs encapsulation": ("tunnelMode", {"cidr": "10.66.0.0/16", "tunnelMode": "Always"}),
    "IPPool: encapsulation cannot be used with vxlanMode or ipipMode":
        ("encapsulation", {"cidr": "10.66.0.0/16", "encapsulation": "ipip", "vxlanMode": "Always"}),
    "BGPPeer: node and nodeSelector exclude each other": ("nodeSelector", {"peerIP": "198.18.1.200", "asNumber": 1, "node": "a", "nodeSelector": "all()"}),
    "BGPPeer: either peerIP or peerSelector is required": ("peerIP", {"asNumber": 1}),
    "BGPPeer: asNumber is required with peerIP": ("asNumber", {"peerIP": "198.18.1.200"}),
    "BGPFilter: cidr and matchOperator go together": ("importV4[0]", {"importV4": [{"action": "Accept", "cidr": "10.0.0.0/8"}]}),
    "BGPFilter: prefixLength needs a cidr": ("importV4[0]", {"importV4": [{"action": "Accept", "prefixLength": {"min": 8}}]}),
}

LIMITS = {"pattern", "minLength", "minimum", "maximum", "enum"}


def is_scalar(schema):
    return schema.get("type") in ("string", "integer") or "x-kubernetes-int-or-string" in schema


def out_of_range(schema):
    """Values that the schema itself excludes."""
    kind = schema.get("type")
    yield {"object": "x", "array": "x", "string": {}}.get(kind, [])
    if "enum" in schema:
        yield "nothing-of-the-kind"
    if "minimum" in schema:
        yield schema["minimum"] - 1
        yield schema["maximum"] + 1
        yield 2 ** 63
    if "pattern" in schema:
        assert not re.match(schema["pattern"], "no such thing!")
        yield "no such thing!"
    if schema.get("minLength"):
        yield ""
    if "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1)


def fields(schema, path):
    """Each field of a schema with its path: "a.b[].c"."""
    for name, inner in schema.get("properties", {}).items():
        yield from fields(inner, path + [name])
    if "items" in schema:
        yield from fields(schema["items"], path + ["[]"])
    if path:
        yield path, schema


def text_of(path):
    return ".".join(path).replace(".[]", "[]")


def surroundings(path):
    name = "".join(path[-2:] if path[-1:] == ["[]"] else path[-1:])
    return copy.deepcopy(AROUND.get(name, {}))


def wrapped(path, value):
    """`value` at `path` of an otherwise right spec."""
    for depth in range(len(path) - 1, -1, -1):
        value = [value] if path[depth] == "[]" else {**surroundings(path[:depth]), path[depth]: value}
    return value


def cases(kind):
    """Wrong specs: where each is wrong, and the spec."""
    for path, schema in fields(SCHEMAS[kind], []):
        name = f"{kind}.{text_of(path)}"
        assert not is_scalar(schema) or name in BY_HAND or LIMITS & set(schema), f"{name}: say in BY_HAND what is out of its range"
        for value in itertools.chain(out_of_range(schema), BY_HAND.get(name, [])):
            yield text_of(path), {**RIGHT[kind], **wrapped(path, value)}
        for required in schema.get("required", []):
            whole = wrapped(path, {})
            yield f"{text_of(path)}.{required}", {**RIGHT[kind], **whole}
    for required in SCHEMAS[kind].get("required", []):
        yield required, {k: v for k, v in RIGHT[kind].items() if k != required}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    spaces = netns.Namespaces()
    made = None
    try:
        made = fabric.build(spaces, tmp_path_factory.mktemp("bad") / "cluster", *fabric.peer_objects(),
                            settings={"encapsulation": "vxlan-l3"}, nodes=(("n1", "A"), ("n2", "B")))
        made.pods_at = [node.pod() for node in made.nodes]
        for node in made.nodes:
            wait_until(lambda n=node: fabric.established(n), lambda n=node: str(fabric.sessions(n)), seconds=60)
        wait_until(lambda: not complaints(made.nodes[0]), lambda: str(complaints(made.nodes[0])))
        yield made
    finally:
        if made:
            fabric.close(made)
        spaces.close()


def complaints(node):
    return [c["what"] for c in (node.role() or {"complaints": ["no answer"]})["complaints"]]


def state(node):
    """What wrong objects must not change."""
    with open(f"{node.bird_folder}/bird.conf") as f:
        bird = f.read()
    return {"bird": bird, "sessions": {name: p["state"] for name, p in fabric.peers(node).items()}, **node.kernel()}


def difference(one, other):
    return {key: (value, other[key]) for key, value in one.items() if other[key] != value}


def since(node):
    return {name: p["since"] for name, p in fabric.peers(node).items()}


@pytest.fixture
def undisturbed(one):
    n1, (a, b) = one.nodes[0], one.pods_at
    before, up = state(n1), since(n1)
    yield
    put(one, [])
    wait_until(lambda: not complaints(n1), lambda: str(complaints(n1)))
    wait_until(lambda: state(n1) == before, lambda: difference(before, state(n1)), seconds=5)
    assert all(bgp.same_time(then, up[name]) for name, then in since(n1).items()), "no session came anew"
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4]


def put(one, objects):
    """These, and none of those before."""
    path = f"{one.source.folder}/bad.json"
    with open(path + ".tmp", "w") as f:
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, f)
    os.rename(path + ".tmp", path)


def messages(one, objects):
    """What the daemon says, once it has something to say about each of them."""
    put(one, objects)
    wanted = {f"{o['kind']} {o['metadata']['name']}: " for o in objects}
    n1 = one.nodes[0]

    def said():
        whats = complaints(n1)
        return whats if all(any(what.startswith(want) for what in whats) for want in wanted) else None

    return wait_until(said, lambda: f"nothing about {[w for w in wanted if not any(c.startswith(w) for c in complaints(n1))]}")


def batches(everything, size):
    for i in range(0, len(everything), size):
        yield everything[i:i + size]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_field_out_of_range_is_named(one, undisturbed, kind):
    """The values follow from the CRDs' schemas, so that a field added there is in this test, or makes it fail."""
    n1 = one.nodes[0]
    before, lines = state(n1), n1.log().count(f"{kind} is malformed")
    wrong = [(where, culvert(kind, f"bad-{i}", **spec)) for i, (where, spec) in enumerate(cases(kind))]
    for some in batches(wrong, SHOWN):
        whats = messages(one, [obj for _, obj in some])
        assert len(whats) == len(some), f"one message each: {whats}"
        for where, obj in some:
            (what,) = [w for w in whats if w.startswith(f"{kind} {obj['metadata']['name']}: ")]
            place = f"spec.{where}".replace("[]", "[0]")
            assert re.search(re.escape(place.removesuffix("[0]")) + r"(?![A-Za-z0-9])", what), f"{place} = {obj['spec']}: {what}"
            assert len(what) < 1000, what
        with open(f"{n1.bird_folder}/bird.conf") as f:
            assert f.read() == before["bird"]
    assert n1.log().count(f"{kind} is malformed") <= lines + 3, "at most one line in half a minute"


def rules(schema, kind):
    found = {f"{kind}: {rule['message']}" for rule in schema.get("x-kubernetes-validations", [])}
    for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        found |= rules(inner, kind)
    return found


def test_each_rule_between_fields_is_kept(one, undisturbed):
    assert set().union(*(rules(schema, kind) for kind, schema in SCHEMAS.items())) == set(BREACHES)
    wrong = {f"bad-{i}": (rule, *breach) for i, (rule, breach) in enumerate(BREACHES.items()) if breach}
    whats = messages(one, [culvert(rule.split(":")[0], name, **spec) for name, (rule, _, spec) in wrong.items()])
    for name, (rule, where, _) in wrong.items():
        (what,) = [w for w in whats if f" {name}: " in w]
        assert f"spec.{where}" in what, f"{rule}: {what}"


def test_an_object_that_turns_bad_keeps_its_effect(one, undisturbed):
    good = next(obj for obj in fabric.peer_objects() if obj["metadata"]["name"] == "tor-a")
    bad = {**good, "spec": {**good["spec"], "asNumber": -1}}
    one.source.put(bad)
    try:
        n1 = one.nodes[0]
        (what,) = wait_until(lambda: complaints(n1), "a message")
        assert what.startswith("BGPPeer tor-a: spec.asNumber") and what.endswith("keeping the last good object")
        assert fabric.established(n1)
    finally:
        one.source.put(good)


def test_overlapping_pools_are_named_and_move_no_route(one, undisturbed):
    n1 = one.nodes[0]
    before = n1.kernel()
    put(one, [culvert("IPPool", "wide", cidr="10.66.0.0/16"), culvert("IPPool", "narrow", cidr="10.66.64.0/18")])
    (what,) = wait_until(lambda: complaints(n1), "a message")
    assert what == "pools narrow and wide overlap"
    assert {k: v for k, v in n1.kernel().items() if k != "nft"} == {k: v for k, v in before.items() if k != "nft"}


def test_a_peer_among_our_pods_is_refused(one, undisturbed):
    n1 = one.nodes[0]
    before = state(n1)
    whats = messages(one, [culvert("BGPPeer", "inside", peerIP="10.244.2.7", asNumber=64999)])
    assert whats == ["BGPPeer inside: 10.244.2.7 is an address of pods"]
    assert state(n1) == before


def test_a_node_in_a_pool_is_named(one, undisturbed):
    n1 = one.nodes[0]
    before = n1.kernel()
    put(one, [culvert("IPPool", "fabric", cidr="198.18.2.0/24")])
    (what,) = wait_until(lambda: complaints(n1), "a message")
    assert what == f"pool fabric contains the address {one.nodes[1].addresses[V4]} of node n2"
    assert n1.kernel()["routes"] == before["routes"] and n1.kernel()["nexthops"] == before["nexthops"]


def node(name, *networks, address="198.18.1.77"):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": list(networks)},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


@pytest.mark.parametrize("network, why", [
    ("198.18.1.0/24", "contains this node's own address 198.18.1.11"), ("10.244.1.0/25", "overlaps this node's 10.244.1.0/24"),
    ("10.244.2.0/24", "both claim 10.244.2.0/24; n2 keeps it"), ("0.0.0.0/0", "is everything"),
    ("198.18.2.0/24", "contains the address 198.18.2.12 of node n2")])
def test_a_node_that_claims_what_is_not_its_own_gets_no_route(one, undisturbed, network, why):
    n1 = one.nodes[0]
    before = n1.kernel()["routes"]
    put(one, [node("thief", network)])
    whats = wait_until(lambda: complaints(n1), "a message")
    assert any(why in what for what in whats), whats
    assert n1.kernel()["routes"] == before


def test_ten_thousand_malformed_objects_disturb_nobody(one, undisturbed):
    n1 = one.nodes[0]
    before, lines = state(n1), n1.log().count("malformed")
    kinds = {"IPPool": {"cidr": "10.0.0.1/8", "blockSize": 3}, "BGPPeer": {"peerIP": "nowhere", "asNumber": -1}, "BGPFilter": {"importV4": "x"}}
    bad = [culvert(kind, f"bad-{i}", **spec) for kind, spec in kinds.items() for i in range(2500)]
    put(one, bad + [node(f"bad-{i}", "nonsense") for i in range(2500)])
    whats = wait_until(lambda: (w := complaints(n1)) and len(w) >= 4 * (SHOWN + 1) and w, lambda: str(complaints(n1))[:2000])
    assert any("IPPool bad-0: spec.cidr" in what and "spec.blockSize" in what for what in whats), whats[:3]
    assert {f"{2500 - SHOWN} more of kind {kind} are malformed" for kind in ("Node", *kinds)} <= set(whats)
    assert len(whats) == 4 * (SHOWN + 1)
    assert n1.log().count("malformed") <= lines + 8, "one line for each kind, and then their number"
    assert state(n1) == before
