"""Our plugins beside Debian's reference plugins: same configuration, same result, equivalent kernel.

Every case of CASES runs once with each, in identical fresh namespaces. What may differ is written
down in DELIBERATE and nowhere else; a difference that is not listed fails.
"""
import fnmatch
import json
import os
import re

import pytest

from lib import cni, configs, snapshot, traffic
from lib.cni import HOST_VETH, OURS, REFERENCE, Attachment

VERSION = "1.0.0"  # the newest that Debian's reference speaks

# (pattern of a fact as snapshot.difference() prints it, reason). Matched with fnmatch.
DELIBERATE = [
    ("*link veth#? ifalias*", "the host end carries its owner in the link alias, so that DEL and GC find it"),
    ("*link cni0 ifalias*", "so does a bridge that we made, with its network, so that GC knows which to remove"),
    ("*nft *", "masquerade and anti-spoofing live in our own nft tables, with set elements instead of a chain "
               "per container; that they do the same is shown with packets below"),
    ("*only ours: link * txqlen = 1000", "the kernel's default; 1.1.1 sets 0 by accident (newer ones do not), with which a "
                                         "pfifo put on the link later would drop everything"),
    ("*ipv6/eth0/accept_dad:*", "the address itself carries the flag that it needs no detection of duplicates, so bridge "
                                "leaves the setting alone without IPv6 and ptp need not wait with it"),
    ("*ipv6/cni0*/accept_dad*", "the host's own link-local address is usable at once: a tentative one could not even ask for a "
                                "container's MAC, and what the host forwards in the first second would be lost"),
    ("*ipv6/veth#?/accept_dad: ours '0'*", "the same, on ptp's host end and behind a vlan's gateway"),
    ("*ipv6/eth0/keep_addr_on_down: ours '1', reference '0'", "as newer references do: the address survives a link that goes down"),
    ("*link cni0 mac:*", "a bridge of ours has its MAC from the beginning and keeps it; the reference's without gateway "
                         "follows its ports, and has none when they are gone"),
    ("*ipv6/cni0.100/accept_ra: ours '0', reference '1'", "no container may tell the host its routes, over a vlan's gateway either"),
    ("*only reference: vlan veth#1 1-1 *", "that port is in the gateway's vlan and no other"),
    ("*ipv4/eth0/arp_notify: ours '0', reference '1'", "without an IPv4 address there is nothing to announce"),
]
# Results of cases in which only the reference is wrong: the key left out of the comparison, and why.
DELIBERATE_RESULTS = {
    "host-local resolvConf": ("dns", "1.1.1's bridge loses the DNS of its IPAM; newer ones, and ours, keep it"),
    "static with routes and dns": ("dns", "the same"),
}


def bridge(**keys):
    return configs.bridge("DATA", VERSION, **keys)


def ptp(**keys):
    return configs.ptp("DATA", VERSION, **keys)


def with_ipam(config, **changes):
    return {**config, "ipam": {**config["ipam"], **changes}}


def static(config, **ipam):
    return {**config, "ipam": {"type": "static", **ipam}}


class Case:
    """A configuration ("DATA" stands for the data directory) and how it is called."""

    def __init__(self, config, args=None, macs=(), prepare=None, fails=False):
        self.config, self.args, self.macs, self.prepare, self.fails = config, args, macs, prepare, fails


def bridge_with_address(address):
    def prepare(host):
        host.ip("link", "add", "cni0", "type", "bridge")
        host.ip("address", "add", address, "dev", "cni0")
    return prepare


MAC = "02:11:22:33:44:55"
DUAL = dict(subnets=("10.20.0.0/24", "fd20::/64"), routes=("0.0.0.0/0", "::/0"))
V6 = dict(subnets=("fd20::/64",), routes=("::/0",))
BASE = bridge()

CASES = {
    "bridge L3": Case(BASE),
    "bridge L2": Case(configs.l2_bridge(VERSION)),
    "bridge L2 with empty ipam": Case({**configs.l2_bridge(VERSION), "ipam": {}}),
    "bridge without gateway": Case(bridge(isGateway=False)),
    "bridge without gateway or routes": Case(bridge(isGateway=False, routes=())),
    "bridge default name": Case({k: v for k, v in BASE.items() if k != "bridge"}),
    "bridge default gateway": Case(bridge(isDefaultGateway=True, routes=())),
    "bridge default gateway, other routes": Case(bridge(isDefaultGateway=True, isGateway=False, routes=("10.99.0.0/16",))),
    "bridge masquerade": Case(bridge(ipMasq=True)),
    "bridge mtu": Case(bridge(mtu=1400)),
    "bridge hairpin": Case(bridge(hairpinMode=True)),
    "bridge promiscuous": Case(bridge(promiscMode=True)),
    "bridge hairpin and promiscuous": Case(bridge(hairpinMode=True, promiscMode=True), fails=True),
    "bridge mac by CNI_ARGS": Case(BASE, args=f"IgnoreUnknown=1;MAC={MAC}", macs=[MAC]),
    "bridge mac by args": Case({**BASE, "args": {"cni": {"mac": MAC}}}, macs=[MAC]),
    "bridge mac by runtimeConfig": Case({**BASE, "capabilities": {"mac": True}, "runtimeConfig": {"mac": MAC}}, macs=[MAC]),
    "bridge mac precedence": Case({**BASE, "args": {"cni": {"mac": "02:00:00:00:00:01"}}, "runtimeConfig": {"mac": MAC}},
                                  args="IgnoreUnknown=1;MAC=02:00:00:00:00:02", macs=[MAC, "02:00:00:00:00:01", "02:00:00:00:00:02"]),
    "bridge bad mac": Case({**BASE, "runtimeConfig": {"mac": "not-a-mac"}}, fails=True),
    "bridge force address": Case(bridge(forceAddress=True), prepare=bridge_with_address("10.77.0.1/16")),
    "bridge address clash": Case(BASE, prepare=bridge_with_address("10.77.0.1/16"), fails=True),
    "bridge same address already": Case(BASE, prepare=bridge_with_address("10.20.0.1/24")),
    "bridge IPv6 address clash": Case(bridge(**V6), prepare=bridge_with_address("fd20::99/48"), fails=True),
    "bridge disjoint IPv6 address": Case(bridge(**V6), prepare=bridge_with_address("fd99::1/64")),
    "bridge dual stack": Case(bridge(**DUAL)),
    "bridge dual stack masquerade": Case(bridge(**DUAL, ipMasq=True)),
    "bridge IPv6 only": Case(bridge(**V6)),
    "bridge IPv6 default gateway": Case(bridge(subnets=("fd20::/64",), routes=(), isDefaultGateway=True)),
    "bridge three subnets": Case(bridge(subnets=("10.20.0.0/24", "fd20::/64", "fd21::/64"))),
    "bridge two IPv4 subnets": Case(bridge(isGateway=False, subnets=("10.20.0.0/24", "10.21.0.0/24"))),
    "bridge anti-spoofing": Case(bridge(macspoofchk=True)),
    "bridge L2 anti-spoofing": Case(configs.l2_bridge(VERSION, macspoofchk=True)),
    "bridge routes with gateways": Case(with_ipam(BASE, routes=[{"dst": "10.99.0.0/16", "gw": "10.20.0.7"}, {"dst": "10.98.0.0/16"}])),
    "host-local old style range": Case({**BASE, "ipam": {"type": "host-local", "dataDir": "DATA", "subnet": "10.20.0.0/24",
                                                         "rangeStart": "10.20.0.50", "rangeEnd": "10.20.0.60", "gateway": "10.20.0.254"}}),
    "host-local several ranges in a set": Case(with_ipam(BASE, ranges=[[{"subnet": "10.20.0.0/24", "rangeStart": "10.20.0.10", "rangeEnd": "10.20.0.10"},
                                                                        {"subnet": "10.21.0.0/24"}]])),
    "host-local runtime ranges": Case({**with_ipam(BASE, ranges=[]), "runtimeConfig": {"ipRanges": [[{"subnet": "10.23.0.0/24"}]]}}),
    "host-local requested by CNI_ARGS": Case(BASE, args="IgnoreUnknown=1;IP=10.20.0.77"),
    "host-local requested by args": Case({**BASE, "args": {"cni": {"ips": ["10.20.0.78/24"]}}}),
    "host-local requested by runtimeConfig": Case({**bridge(**DUAL), "runtimeConfig": {"ips": ["10.20.0.79", "fd20::79/64"]}}),
    "host-local requested outside": Case(BASE, args="IgnoreUnknown=1;IP=10.99.0.1", fails=True),
    "host-local requested gateway": Case(BASE, args="IgnoreUnknown=1;IP=10.20.0.1", fails=True),
    "host-local resolvConf": Case(with_ipam(BASE, resolvConf="DATA/resolv.conf")),
    "dns of the network wins": Case({**with_ipam(BASE, resolvConf="DATA/resolv.conf"), "dns": {"nameservers": ["9.9.9.9"], "search": ["a.example"]}}),
    "host-local too small": Case(bridge(subnets=("10.20.0.0/31",)), fails=True),
    "host-local host bits": Case(bridge(subnets=("10.20.0.5/24",)), fails=True),
    "host-local overlapping sets": Case(bridge(subnets=("10.20.0.0/16", "10.20.5.0/24")), fails=True),
    "host-local mixed families in a set": Case(with_ipam(BASE, ranges=[[{"subnet": "10.20.0.0/24"}, {"subnet": "fd20::/64"}]]), fails=True),
    "static": Case(static(BASE, addresses=[{"address": "10.60.0.9/24", "gateway": "10.60.0.1"}])),
    "static with routes and dns": Case(static(BASE, addresses=[{"address": "10.60.0.9/24", "gateway": "10.60.0.1"}, {"address": "fd60::9/64", "gateway": "fd60::1"}],
                                              routes=[{"dst": "0.0.0.0/0"}, {"dst": "10.99.0.0/16", "gw": "10.60.0.5"}, {"dst": "::/0"}],
                                              dns={"nameservers": ["10.60.0.1"], "domain": "x.example", "search": ["x.example"], "options": ["ndots:2"]})),
    "static by CNI_ARGS": Case(static(BASE, addresses=[]), args="IgnoreUnknown=1;IP=10.60.0.7/24;GATEWAY=10.60.0.1"),
    "static by args": Case({**static(BASE, addresses=[{"address": "10.60.0.9/24"}]), "args": {"cni": {"ips": ["10.61.0.9/24"]}}}),
    "static by runtimeConfig": Case({**static(BASE, addresses=[{"address": "10.60.0.9/24"}]), "runtimeConfig": {"ips": ["10.62.0.9/24"]}}),
    "static without prefix": Case(static(BASE, addresses=[{"address": "10.60.0.9"}]), fails=True),
    "ptp": Case(ptp()),
    "ptp mtu": Case(ptp(mtu=1400)),
    "ptp masquerade": Case(ptp(ipMasq=True)),
    "ptp dual stack": Case(ptp(subnets=("10.30.0.0/24", "fd30::/64"), routes=("0.0.0.0/0", "::/0"))),
    "ptp IPv6 only": Case(ptp(subnets=("fd30::/64",), routes=("::/0",))),
    "ptp with dns": Case({**with_ipam(ptp(), resolvConf="DATA/resolv.conf"), "dns": {"domain": "y.example"}}),
    "ptp with dns emptied": Case({**with_ipam(ptp(), resolvConf="DATA/resolv.conf"), "dns": {"nameservers": []}}),
    "ptp without ipam": Case({k: v for k, v in ptp().items() if k != "ipam"}, fails=True),
    "ptp static without gateway": Case(static(ptp(), addresses=[{"address": "10.60.0.9/24"}]), fails=True),
    "loopback": Case(configs.loopback(VERSION)),
}

# Debian's 1.1.1 always leaves VLAN 1 on the port; newer ones do so with preserveDefaultVlan only.
KEEP = dict(vlan=100, preserveDefaultVlan=True)
VLAN_CASES = {
    "vlan": Case(bridge(**KEEP)),
    "vlan without gateway": Case(bridge(**KEEP, isGateway=False)),
    "vlan L2": Case(configs.l2_bridge(VERSION, **KEEP)),
    "vlan dual stack": Case(bridge(**DUAL, **KEEP)),
}

# Debian's 1.1.1 does not know these keys yet, or has them wrong: what ours does is compared with its documentation.
NEWER_CASES = {
    "portIsolation": (configs.l2_bridge(VERSION, portIsolation=True), {"link veth#0 port isolated": True}),
    "no portIsolation": (configs.l2_bridge(VERSION), {"link veth#0 port isolated": False}),
    "hairpin": (configs.l2_bridge(VERSION, hairpinMode=True), {"link veth#0 port hairpin": True}),
}


class Side:
    """One case run by one of the two."""

    def __init__(self, plugins, case, spaces, folder):
        folder.mkdir()
        (folder / "resolv.conf").write_text("# a comment\nnameserver 10.0.0.53\nnameserver fd00::53\ndomain d.example\n"
                                            "search s1.example s2.example\noptions ndots:5 rotate\n")
        self.folder = folder
        self.host, self.container = spaces.new("host"), spaces.new("c")
        for ns in (self.host, self.container):  # the reference waits 2 s for duplicate address detection
            ns.sysctl("net/ipv6/conf/default/dad_transmits", 0)
        if case.prepare:
            case.prepare(self.host)
        config = json.loads(json.dumps(case.config).replace("DATA", str(folder)))
        self.macs = case.macs
        self.attachment = Attachment(self.host, config, self.container, cid="same-container", plugins=plugins, args=case.args,
                                     ifname="lo" if config["type"] == "loopback" else "eth0")

    def files(self):
        """Names and contents of what host-local keeps. Modes: 1.1.1 makes files 0644, newer ones and ours 0600."""
        return {k: (kind, content) for k, (kind, _, content) in snapshot.files(self.folder).items() if k != "resolv.conf"}

    def result(self):
        """The result with what is random replaced, and with an empty dns left out (newer references omit it)."""
        result = json.loads(json.dumps(self.attachment.result).replace(self.container.path, "<netns>"))
        for i, interface in enumerate(result.get("interfaces", [])):
            if HOST_VETH.match(interface["name"]):
                interface["name"] = f"veth#{i}"
            assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", interface["mac"]), interface
            if interface["mac"] not in self.macs and interface["name"] != "lo":
                interface["mac"] = "<mac>"
        if not result.get("dns"):
            result.pop("dns", None)
        return result


def undeclared(differences):
    return [d for d in differences if not any(fnmatch.fnmatch(d, pattern) for pattern, _ in DELIBERATE)]


def kernels(*sides):
    """Settled snapshots of host and container of each side."""
    taken = snapshot.settled_all([ns for side in sides for ns in (side.host, side.container)], sides[0].macs)
    return {side: {"host": taken[2 * i], "container": taken[2 * i + 1]} for i, side in enumerate(sides)}


def compare(a, b):
    """Differences of two {"host": ..., "container": ...} snapshots that nobody has declared."""
    found = []
    for place in a:
        for line in snapshot.difference(a[place], b[place], "ours", "reference"):
            found.append(f"{place}: {line}")
    return undeclared(found)


def run_case(case, spaces, tmp_path, not_compared=None):
    ours, theirs = (Side(p, case, spaces, tmp_path / n) for p, n in ((OURS, "ours"), (REFERENCE, "reference")))
    before = kernels(ours, theirs)
    outcomes = [side.attachment.try_add() for side in (ours, theirs)]
    if case.fails:
        for outcome in outcomes:
            outcome.expect_error()
    else:
        for outcome in outcomes:
            outcome.expect_ok()
        results = [{k: v for k, v in side.result().items() if k != not_compared} for side in (ours, theirs)]
        assert results[0] == results[1]
        during = kernels(ours, theirs)
        assert compare(during[ours], during[theirs]) == []
        assert ours.files() == theirs.files()
    deleted = ours.attachment.delete()
    if theirs.attachment.delete().ok:  # it refuses DEL too where it refuses the configuration
        deleted.expect_ok()
    assert_no_dirtier(before, kernels(ours, theirs), ours, theirs)
    if not case.fails:
        assert ours.files() == theirs.files()


def assert_no_dirtier(before, after, ours, theirs):
    """Whatever ours leaves behind after DEL, the reference leaves too."""
    for place in ("host", "container"):
        left = {side: {k: v for k, v in after[side][place].items() if before[side][place].get(k, "-") != v}
                for side in (ours, theirs)}
        lines = snapshot.difference(left[ours], {k: v for k, v in left[theirs].items() if k in left[ours]}, "ours", "reference")
        assert [l for l in undeclared(lines) if " operstate" not in l] == []
        assert [k for k in left[ours] if k.startswith("nft ")] == []
        gone = [k for k in before[ours][place] if k not in after[ours][place] and k in after[theirs][place]]
        assert gone == []


@pytest.mark.netns
@pytest.mark.parametrize("name", CASES)
def test_same_result_and_equivalent_kernel(name, spaces, tmp_path):
    run_case(CASES[name], spaces, tmp_path, DELIBERATE_RESULTS.get(name, [None])[0])


@pytest.mark.vm
@pytest.mark.parametrize("name", VLAN_CASES)
def test_vlans_are_the_same(name, vlan_filtering, spaces, tmp_path):
    run_case(VLAN_CASES[name], spaces, tmp_path)


@pytest.mark.netns
@pytest.mark.parametrize("name", NEWER_CASES)
def test_keys_that_are_newer_than_debians_reference(name, host, container):
    config, facts = NEWER_CASES[name]
    Attachment(host, config, container).add()
    found = snapshot.settled(host)
    assert {k: found[k] for k in facts} == facts


@pytest.mark.netns
def test_the_bridge_takes_the_gateways_of_two_ipv4_subnets(host, container, tmp_path):
    """The reference takes its own second gateway for a stranger's address and fails."""
    config = configs.bridge(tmp_path, VERSION, subnets=("10.20.0.0/24", "10.21.0.0/24"))
    Attachment(host, config, container).add()
    assert traffic.ping(container, "10.20.0.1") and traffic.ping(container, "10.21.0.1")


@pytest.mark.netns
def test_the_dns_of_ipam_reaches_the_result_of_bridge(host, container, tmp_path):
    dns = {"nameservers": ["10.60.0.1"], "domain": "x.example", "search": ["x.example"], "options": ["ndots:2"]}
    config = static(configs.bridge(tmp_path, VERSION), addresses=[{"address": "10.60.0.9/24"}], routes=[], dns=dns)
    assert Attachment(host, config, container).add()["dns"] == dns
    changed = {**config, "dns": {"nameservers": []}}
    Attachment(host, config, container).delete().expect_ok()
    assert Attachment(host, changed, container, ifname="net1").add().get("dns", {}) == {}


@pytest.mark.netns
def test_a_disabled_container_interface_stays_down(host, container):
    Attachment(host, configs.l2_bridge(VERSION, disableContainerInterface=True), container).add()
    assert snapshot.settled(container)["link eth0 flag UP"] is False
    assert "veth#0" in {k.split()[1] for k in snapshot.settled(host) if k.startswith("link ")}


# --- behaviour that cannot be compared as state ---------------------------------------------------

@pytest.mark.netns
@pytest.mark.parametrize("plugins", [OURS, REFERENCE], ids=["ours", "reference"])
@pytest.mark.parametrize("make", [bridge, ptp], ids=["bridge", "ptp"])
def test_masquerade_does_the_same(plugins, make, host, outside, spaces, tmp_path):
    """To the outside: as the host. To the own subnet: as itself. Multicast: untouched. After DEL: not at all."""
    subnets = ("10.20.0.0/24", "fd20::/64")
    config = json.loads(json.dumps(make(ipMasq=True, subnets=subnets, routes=("0.0.0.0/0", "::/0"))).replace("DATA", str(tmp_path)))
    a, b = (Attachment(host, config, spaces.new("c"), plugins=plugins) for _ in range(2))
    a.add(), b.add()
    assert traffic.reach(a.container, outside, "198.18.0.2") == "198.18.0.1"
    assert traffic.reach(a.container, outside, "fd18::2") == "fd18::1"
    assert traffic.reach(a.container, b.container, b.addresses[0]) == a.addresses[0]
    assert traffic.reach(a.container, b.container, b.addresses[1]) == a.addresses[1]
    a.delete().expect_ok()
    assert traffic.reach(b.container, outside, "198.18.0.2") == "198.18.0.1"


@pytest.mark.netns
@pytest.mark.parametrize("plugins", [OURS, REFERENCE], ids=["ours", "reference"])
def test_anti_spoofing_drops_other_source_macs(plugins, host, spaces, tmp_path):
    config = json.loads(json.dumps(bridge(macspoofchk=True)).replace("DATA", str(tmp_path)))
    a, b = (Attachment(host, config, spaces.new("c"), plugins=plugins) for _ in range(2))
    a.add(), b.add()
    assert traffic.ping(a.container, b.addresses[0])
    a.container.ip("link", "set", "eth0", "address", "02:00:00:00:00:66")
    assert not traffic.ping(a.container, b.addresses[0], wait=1)
    assert traffic.ping(b.container, "10.20.0.1")
    a.delete().expect_ok()
    assert traffic.ping(b.container, "10.20.0.1")


@pytest.mark.netns
@pytest.mark.parametrize("plugins", [OURS, REFERENCE], ids=["ours", "reference"])
def test_large_packets_follow_the_mtu(plugins, host, container, tmp_path):
    config = json.loads(json.dumps(ptp(mtu=1400)).replace("DATA", str(tmp_path)))
    Attachment(host, config, container, plugins=plugins).add()
    assert traffic.ping(container, "10.30.0.1", size=1400 - 28)
    assert not traffic.ping(container, "10.30.0.1", size=1400 - 27, wait=1)


@pytest.mark.netns
def test_isolated_ports_reach_the_gateway_but_not_each_other(host, spaces, tmp_path):
    config = json.loads(json.dumps(bridge(portIsolation=True)).replace("DATA", str(tmp_path)))
    a, b = (Attachment(host, config, spaces.new("c")) for _ in range(2))
    a.add(), b.add()
    assert traffic.ping(a.container, "10.20.0.1")
    assert not traffic.ping(a.container, b.addresses[0], wait=1)


@pytest.mark.netns
def test_hairpin_lets_a_container_reach_itself_through_the_bridge(host, container, tmp_path):
    """A frame to the container's own port comes back on it; without hairpin the bridge would drop it."""
    config = json.loads(json.dumps(bridge(hairpinMode=True)).replace("DATA", str(tmp_path)))
    attachment = Attachment(host, config, container)
    attachment.add()
    host.run("nft", "-f", "-", stdin="table ip t { chain pre { type nat hook prerouting priority -100; "
             "ip daddr 10.20.0.1 tcp dport 9000 dnat to 10.20.0.2:9000; }; "
             "chain post { type nat hook postrouting priority 100; ip daddr 10.20.0.2 masquerade; }; }")
    with traffic.listener(container, "10.20.0.2", 9000) as server:
        assert traffic.connect(container, server, "10.20.0.1", 9000) == "10.20.0.1"


# --- vlans, in words (Debian's reference lacks vlanTrunk and preserveDefaultVlan) ------------------

def vlans(host, port):
    return {k.split()[2]: v for k, v in snapshot.settled(host).items() if k.startswith(f"vlan {port} ")}


PVID = ["Egress Untagged", "PVID"]
TRUNKS = {
    "access": (dict(vlan=100), {"100-100": PVID, "1-1": []}),
    "access, default vlan removed": (dict(vlan=100, preserveDefaultVlan=False), {"100-100": PVID}),
    "trunk": (dict(vlanTrunk=[{"id": 101}, {"minID": 200, "maxID": 203}]),
              {"1-1": PVID, "101-101": [], **{f"{v}-{v}": [] for v in range(200, 204)}}),
    "native vlan and trunk": (dict(vlan=100, vlanTrunk=[{"id": 101}]), {"100-100": PVID, "101-101": []}),
}


def spread(ports):
    """Ranges as single ids; flags sorted."""
    out = {}
    for span, flags in ports.items():
        first, last = map(int, span.split("-"))
        out.update({f"{v}-{v}": sorted(flags) for v in range(first, last + 1)})
    return out


@pytest.mark.vm
@pytest.mark.parametrize("name", TRUNKS)
def test_vlan_membership_of_the_port(name, vlan_filtering, host, container):
    keys, expected = TRUNKS[name]
    attachment = Attachment(host, configs.l2_bridge(VERSION, **keys), container)
    attachment.add()
    found = spread(vlans(host, "veth#0"))
    if name == "access":
        expected = {k: v for k, v in expected.items() if k != "1-1"}
    assert found == expected
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert host.links() == ["cni0"]


@pytest.mark.vm
def test_preserve_default_vlan_keeps_vlan_1(vlan_filtering, host, container):
    Attachment(host, configs.l2_bridge(VERSION, vlan=100, preserveDefaultVlan=True), container).add()
    found = spread(vlans(host, "veth#0"))
    assert set(found) == {"1-1", "100-100"} and "PVID" in found["100-100"] and "PVID" not in found["1-1"]


@pytest.mark.vm
def test_containers_of_different_vlans_do_not_meet(vlan_filtering, host, spaces):
    def attach(vlan, address):
        config = {**configs.l2_bridge(VERSION, vlan=vlan), "ipam": {"type": "static", "addresses": [{"address": address}]}}
        attachment = Attachment(host, config, spaces.new("c"))
        attachment.add()
        return attachment
    a, b, other = attach(100, "10.5.0.1/24"), attach(100, "10.5.0.2/24"), attach(200, "10.5.0.3/24")
    assert traffic.ping(a.container, "10.5.0.2")
    assert not traffic.ping(a.container, "10.5.0.3", wait=1)
    assert other.host_veth != b.host_veth


@pytest.mark.vm
def test_the_gateway_of_a_vlan_works_and_goes_with_gc(vlan_filtering, host, outside, container, tmp_path):
    """The reference never removes the <bridge>.<vlan> pair; our GC does once nothing is valid."""
    config = configs.bridge(tmp_path, vlan=100, ipMasq=True)
    attachment = Attachment(host, config, container)
    attachment.add()
    assert "cni0.100" in host.links()
    assert traffic.ping(container, "10.20.0.1")
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    attachment.delete().expect_ok()
    cni.gc(host, config, []).expect_ok()
    assert host.links() == ["uplink"]


@pytest.mark.vm
def test_check_notices_a_lost_vlan(vlan_filtering, host, container):
    attachment = Attachment(host, configs.l2_bridge(cni.LATEST, vlan=100), container)
    attachment.add()
    host.run("bridge", "vlan", "del", "dev", attachment.host_veth, "vid", "100")
    attachment.check().expect_error(None, "100")


assert os.path.isdir(cni.REFERENCE_DIR), "apt install containernetworking-plugins"
