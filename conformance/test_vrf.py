"""vrf: the reference's cases, routes and IPv6 addresses that stay, packets in domains of their own."""
import functools
import json
import os

import pytest

from lib import chained, cni, scenario, snapshot, traffic
from lib.chained import SERVICE
from lib.cni import OURS, REFERENCE

pytestmark = pytest.mark.vm

RECORDS = "/run/culvert/attachments/vrf"
Net = functools.partial(chained.Net, "vrf")


@pytest.fixture(autouse=True)
def kernel_has_vrfs():
    if scenario.kinds_of(("vrf",)):
        pytest.skip("this kernel has no VRFs; run in the virtual machine")


@pytest.fixture
def net(host, spaces, container):
    return Net(host, spaces, container, 1)


def vrf(ns, name="blue"):
    """(table, up) of the VRF, or nothing."""
    for link in snapshot.links(ns):
        if link["ifname"] == name and link.get("linkinfo", {}).get("info_kind") == "vrf":
            return link["linkinfo"]["info_data"]["table"], "UP" in link["flags"]
    return None


def master(ns, name):
    return next(l for l in snapshot.links(ns) if l["ifname"] == name).get("master")


def routes(ns, table, family="-4"):
    found = json.loads(ns.ip(family, "-j", "route", "show", "table", str(table), check=False) or "[]")
    return sorted((r["dst"], r.get("gateway")) for r in found if r.get("type", "unicast") == "unicast"
                  and not r["dst"].startswith(("fe80", "ff00")))


def addresses(ns, name):
    return sorted(a["local"] for a in json.loads(ns.ip("-j", "address", "show", "dev", name))[0]["addr_info"] if a["scope"] == "global")


def reaches(container, domain, address):
    return "1 received" in container.run("ping", "-n", "-c1", "-W3", "-I", domain, address, check=False)


def records():
    return os.listdir(RECORDS) if os.path.isdir(RECORDS) else []


def lasting(facts):
    """Without the kernel's own rule for VRFs, which it keeps, and what follows a little after link-up."""
    return {k: v for k, v in facts.items() if not k.startswith("rule ") and "operstate" not in k and "link-local" not in k and "fe80" not in k}


@pytest.mark.parametrize("version", [v for v in cni.VERSIONS if cni.at_least(v, "0.3.1")])
def test_the_vrf_is_made_and_goes_with_its_last_interface(host, spaces, container, version):
    net = Net(host, spaces, container, 1, version=version)
    before = lasting(snapshot.settled(container))
    assert net.add(vrfname="blue") == net.base.result
    assert vrf(container) == (1, True) and master(container, "net1") == "blue"
    assert routes(container, 1) == [("10.1.0.0/24", None), ("default", "10.1.0.1")] and routes(container, "main") == []
    assert traffic.ping(container, "10.1.0.1") is False
    assert reaches(container, "blue", SERVICE)
    if cni.at_least(version, "0.4.0"):
        net.check().expect_ok()
        net.base.check().expect_ok()
    net.delete().expect_ok()
    assert vrf(container) is None and records() == []
    assert snapshot.difference(before, lasting(snapshot.settled(container))) == []
    net.delete().expect_ok()


def test_version_0_3_0_is_too_old(net):
    outcome = net.run("ADD", None, keys={"vrfname": "blue", "cniVersion": "0.3.0"})
    outcome.expect_error(1)


@pytest.mark.parametrize("keep", ["0", "1"])
def test_ipv6_addresses_and_routes_stay(host, spaces, container, keep):
    net = Net(host, spaces, container, 1, v6=True, routes=("0.0.0.0/0", "::/0", "fd99::/64"))
    container.sysctl("net/ipv6/conf/net1/keep_addr_on_down", keep)
    before = addresses(container, "net1")
    net.add(vrfname="blue")
    assert addresses(container, "net1") == before and "fd01::5" in before
    assert routes(container, 1, "-6") == [("default", "fd01::1"), ("fd01::/64", None), ("fd99::/64", "fd01::1")]
    assert reaches(container, "blue", "fd01::1")
    net.check().expect_ok()
    net.base.check().expect_ok()
    net.delete().expect_ok()
    assert addresses(container, "net1") == before
    assert routes(container, "main", "-6") == [("default", "fd01::1"), ("fd01::/64", None), ("fd99::/64", "fd01::1")]


def test_a_route_on_the_link_moves_too(host, spaces, container, net):
    """As behind ptp, whose gateway is reached by a route of its own: the reference loses it, and then all that lead through it."""
    container.ip("route", "flush", "table", "main")
    container.ip("route", "add", "192.0.2.1", "dev", "net1", "scope", "link")
    container.ip("route", "add", "default", "via", "192.0.2.1")
    net.add(vrfname="blue")
    assert ("default", "192.0.2.1") in routes(container, 1) and ("192.0.2.1", None) in routes(container, 1)
    net.delete().expect_ok()
    assert routes(container, "main") == [("192.0.2.1", None), ("default", "192.0.2.1")] or \
        set(routes(container, "main")) >= {("192.0.2.1", None), ("default", "192.0.2.1")}


def test_two_interfaces_in_one_vrf(host, spaces, container):
    nets = [Net(host, spaces, container, number) for number in (1, 2)]
    for net in nets:
        net.add(vrfname="blue")
        net.check().expect_ok()
    assert vrf(container) == (1, True)
    nets[0].delete().expect_ok()
    assert vrf(container) == (1, True)
    nets[1].check().expect_ok()
    nets[1].delete().expect_ok()
    assert vrf(container) is None


def test_the_same_address_in_two_vrfs(host, spaces, container):
    nets = [Net(host, spaces, container, number, addresses=["10.7.0.5/24"], gateway=False, routes=()) for number in (1, 2)]
    for net, name in zip(nets, ("blue", "red")):
        net.router.ip("address", "add", "10.7.0.1/24", "dev", "wire")
        net.add(vrfname=name)
    assert {vrf(container)[0], vrf(container, "red")[0]} == {1, 2}
    for net, name in zip(nets, ("blue", "red")):
        assert reaches(container, name, "10.7.0.1")
        net.check().expect_ok()


def test_a_given_table(net, container):
    net.add(vrfname="blue", table=1001)
    assert vrf(container) == (1001, True) and ("default", "10.1.0.1") in routes(container, 1001)
    net.check().expect_ok()


def test_tables_in_use_are_left_alone(net, container):
    """By rules, routes, sbr: the reference looks at other VRFs only."""
    container.ip("rule", "add", "from", "192.0.2.1", "table", "1")
    container.ip("route", "add", "blackhole", "198.51.100.0/24", "table", "2")
    net.add(vrfname="blue")
    assert vrf(container) == (3, True)


def test_another_table_than_the_vrf_has(host, spaces, container):
    nets = [Net(host, spaces, container, number) for number in (1, 2)]
    nets[0].add(vrfname="blue", table=1001)
    snapshot.wait_for_dad(container)
    before = snapshot.settled(container)
    nets[1].try_add(vrfname="blue", table=1002).expect_error(7, "1001", "blue")
    assert snapshot.settled(container) == before
    nets[0].check().expect_ok()


def test_an_interface_with_a_master(net, container):
    container.ip("link", "add", "br0", "type", "bridge")
    container.ip("link", "set", "net1", "master", "br0")
    net.try_add(vrfname="blue").expect_error(None, "br0", "master")
    assert vrf(container) is None and master(container, "net1") == "br0" and records() == []


def test_a_second_add_touches_nothing(net, container):
    net.add(vrfname="blue")
    snapshot.wait_for_dad(container)
    before = snapshot.settled(container)
    net.run("ADD", net.base.result).expect_error(None, "blue")
    assert snapshot.settled(container) == before
    net.check().expect_ok()


@pytest.mark.parametrize("keys, needle", [({}, "vrf name"), ({"vrfname": ""}, "vrf name"), ({"vrfname": "a/b"}, "vrfname"),
                                          ({"vrfname": "net1"}, "vrfname"), ({"vrfname": "x" * 16}, "vrfname"),
                                          ({"vrfname": "blue", "table": -1}, "table"), ({"vrfname": "lo"}, "lo")])
def test_bad_values_are_refused(net, container, keys, needle):
    before = snapshot.settled(container)
    net.try_add(**keys).expect_error(7, needle)
    net.run("ADD", None, keys={"vrfname": "blue"}).expect_error(7, "prevResult")
    assert snapshot.settled(container) == before and records() == []


@pytest.mark.parametrize("arguments", [["link", "set", "net1", "nomaster"], ["link", "set", "blue", "down"], ["link", "del", "blue"],
                                       ["link", "del", "net1"], ["route", "del", "default", "table", "1"]], ids=" ".join)
def test_check_notices(net, container, arguments):
    net.add(vrfname="blue")
    net.check().expect_ok()
    container.ip(*arguments)
    net.check().expect_error(100)


@pytest.mark.parametrize("changes", [{"netns": None}, {"netns": ""}, {"netns": "/run/netns/none"}])
def test_del_without_netns(net, container, changes):
    net.add(vrfname="blue")
    net.delete(with_result=False, **changes).expect_ok()
    assert vrf(container) is None and master(container, "net1") is None and records() == []


@pytest.mark.parametrize("gone", ["net1", "blue"])
def test_del_after_something_is_gone(net, container, gone):
    """The reference fails if the interface is gone and the VRF is not."""
    net.add(vrfname="blue")
    container.ip("link", "del", gone)
    net.delete().expect_ok()
    assert vrf(container) is None and records() == []


def test_del_after_the_namespace_is_gone(net, spaces, container):
    net.add(vrfname="blue")
    spaces.drop(container)
    net.delete().expect_ok()
    assert records() == []


@pytest.mark.parametrize("adder, remover", [(OURS, REFERENCE), (REFERENCE, OURS)], ids=["the reference removes", "the reference added"])
def test_either_plugin_removes_what_the_other_made(host, spaces, container, adder, remover):
    net = Net(host, spaces, container, 1, version="1.0.0", plugins=adder)
    net.add(vrfname="blue")
    there = set(routes(container, 1))  # Debian's reference loses the default route
    net.delete(remover).expect_ok()
    assert vrf(container) is None
    if remover is OURS:
        assert there and set(routes(container, "main")) == there


def test_gc_removes_what_is_stale_only(host, spaces, container):
    nets = [Net(host, spaces, container, number) for number in (1, 2)]
    for net in nets:
        net.add(vrfname="blue")
    config = {"cniVersion": "1.1.0", "name": chained.NETWORK, "type": "vrf", "vrfname": "blue"}
    cni.gc(host, config, None).expect_ok()
    assert len(records()) == 2

    class Valid:
        cid, ifname = nets[1].base.cid, nets[1].ifname
    cni.gc(host, config, [Valid]).expect_ok()
    assert master(container, "net1") is None and len(records()) == 1
    nets[1].check().expect_ok()
    cni.gc(host, config, []).expect_ok()
    assert vrf(container) is None and records() == []
    cni.status(host, config).expect_ok()
