"""sbr: the reference's cases, tables that nobody uses, packets that leave where their source says, DEL that restores."""
import concurrent.futures
import functools
import json
import os

import pytest

from lib import chained, cni, snapshot
from lib.chained import router_reached
from lib.cni import OURS, REFERENCE

pytestmark = pytest.mark.netns

RECORDS = "/run/culvert/attachments/sbr"
Net = functools.partial(chained.Net, "sbr")


@pytest.fixture
def net(host, spaces, container):
    return Net(host, spaces, container, 1)


def rules(ns, family="-4"):
    """(source, table) of every rule that has a source."""
    return sorted((r["src"], r["table"]) for r in json.loads(ns.ip(family, "-j", "rule")) if r["src"] != "all")


def table(ns, number, family="-4"):
    text = ns.ip(family, "-j", "route", "show", "table", str(number), check=False)
    return sorted((r["dst"], r.get("gateway"), r["dev"]) for r in json.loads(text or "[]") if not r["dst"].startswith(("fe80", "ff00")))


def records():
    return os.listdir(RECORDS) if os.path.isdir(RECORDS) else []


# --- the reference's cases ------------------------------------------------------------------------

@pytest.mark.parametrize("version", [v for v in cni.VERSIONS if cni.at_least(v, "0.3.0")])
def test_one_address(host, spaces, container, version):
    net = Net(host, spaces, container, 1, version=version)
    before = snapshot.settled(container)
    assert net.add() == net.base.result
    assert rules(container) == [("10.1.0.5", "100")]
    assert table(container, 100) == [("10.1.0.0/24", None, "net1"), ("default", "10.1.0.1", "net1")]
    assert table(container, "main") == []
    if cni.at_least(version, "0.4.0"):
        net.check().expect_ok()
        net.base.check().expect_ok()
    net.delete().expect_ok()
    assert snapshot.difference(before, snapshot.settled(container)) == [] and records() == []
    net.delete().expect_ok()


def test_without_a_default_route_one_is_made(host, spaces, container):
    net = Net(host, spaces, container, 1, routes=("10.99.0.0/16",))
    net.add()
    assert table(container, 100) == [("10.1.0.0/24", None, "net1"), ("10.99.0.0/16", "10.1.0.1", "net1"),
                                     ("default", "10.1.0.1", "net1")]
    assert table(container, "main") == []


def test_several_addresses_have_tables_of_their_own(host, spaces, container):
    net = Net(host, spaces, container, 1, addresses=["10.1.0.5/24", "10.1.0.6/24", "10.1.0.7/24"])
    net.add()
    assert rules(container) == [("10.1.0.5", "100"), ("10.1.0.6", "101"), ("10.1.0.7", "102")]
    for number in (100, 101, 102):
        assert ("default", "10.1.0.1", "net1") in table(container, number)
        assert ("10.1.0.0/24", None, "net1") in table(container, number)
    net.check().expect_ok()
    net.delete().expect_ok()
    assert rules(container) == [] and table(container, 101) == []


def test_both_families(host, spaces, container):
    net = Net(host, spaces, container, 1, v6=True, routes=("0.0.0.0/0", "::/0"))
    before = snapshot.settled(container)
    net.add()
    assert rules(container) == [("10.1.0.5", "100")] and rules(container, "-6") == [("fd01::5", "101")]
    assert table(container, 101, "-6") == [("default", "fd01::1", "net1"), ("fd01::/64", None, "net1")]
    assert table(container, "main", "-6") == []
    net.check().expect_ok()
    net.base.check().expect_ok()
    net.delete().expect_ok()
    assert snapshot.difference(before, snapshot.settled(container)) == []


def test_a_given_table_is_only_pointed_to(net, container):
    container.ip("route", "add", "default", "via", "10.1.0.1", "table", "5000")
    before = table(container, "main")
    net.add(table=5000)
    assert rules(container) == [("10.1.0.5", "5000")] and table(container, "main") == before
    net.check().expect_ok()
    net.delete().expect_ok()
    assert rules(container) == [] and table(container, 5000) == [("default", "10.1.0.1", "net1")]


def test_gateways_of_the_configuration(host, spaces, container):
    net = Net(host, spaces, container, 1, v6=True, routes=())
    net.add(gateways=["10.1.0.99", "fd01::99"])
    assert ("default", "10.1.0.99", "net1") in table(container, 100)
    assert ("default", "fd01::99", "net1") in table(container, 101, "-6")
    net.check().expect_ok()


def test_a_gateway_that_only_a_route_tells_of(host, spaces, container):
    """plugins#542: some IPAM plugins give none with the address."""
    net = Net(host, spaces, container, 1, gateway=False, routes=())
    container.ip("route", "add", "default", "via", "10.1.0.1", "dev", "net1")
    net.add()
    assert table(container, 100) == [("10.1.0.0/24", None, "net1"), ("default", "10.1.0.1", "net1")]
    net.check().expect_ok()


def test_source_hints_keep_the_subnet_reachable_without_a_source(net, container):
    before = snapshot.settled(container)
    net.add(addSourceHints=True)
    route = json.loads(container.ip("-j", "route", "show", "table", "main"))
    assert [(r["dst"], r["prefsrc"]) for r in route] == [("10.1.0.0/24", "10.1.0.5")]
    net.check().expect_ok()
    net.delete().expect_ok()
    assert snapshot.difference(before, snapshot.settled(container)) == []


@pytest.mark.parametrize("keys, needle", [({"gateways": ["10.1.0.1", "10.1.0.2"]}, "gateways"), ({"gateways": ["x"]}, "gateways"),
                                          ({"gateways": "10.1.0.1"}, "gateways"), ({"table": -1}, "table"), ({"table": "x"}, "table"),
                                          ({"addSourceHints": "yes"}, "addSourceHints")])
def test_bad_values_are_refused(net, container, keys, needle):
    before = snapshot.settled(container)
    net.try_add(**keys).expect_error(7, needle)
    assert snapshot.settled(container) == before and records() == []


def test_prev_result_with_addresses_is_required(net):
    net.run("ADD", None).expect_error(7, "prevResult")
    net.run("ADD", {**net.base.result, "ips": []}).expect_error(7, "net1")
    net.run("CHECK", None).expect_error(7, "prevResult")


# --- packets --------------------------------------------------------------------------------------

def test_packets_leave_where_their_source_says(host, spaces, container):
    """Both networks have a default route; what came in through the second one is answered through it."""
    nets = [Net(host, spaces, container, number) for number in (1, 2)]
    assert router_reached(container, "10.1.0.5", nets) != (1, "10.1.0.5"), "there was nothing to mend"
    nets[1].add()
    assert router_reached(container, "10.2.0.5", nets) == (2, "10.2.0.5")
    assert router_reached(container, "10.1.0.5", nets) == (1, "10.1.0.5")
    nets[0].add()
    assert rules(container) == [("10.1.0.5", "101"), ("10.2.0.5", "100")]
    assert router_reached(container, "10.1.0.5", nets) == (1, "10.1.0.5")
    nets[1].delete().expect_ok()
    nets[0].check().expect_ok()


# --- tables ---------------------------------------------------------------------------------------

def test_tables_in_use_are_left_alone(net, container):
    """By a rule, by a route of another interface (the reference looks only at the main table), by IPv6."""
    container.ip("rule", "add", "from", "192.0.2.1", "table", "100")
    container.ip("route", "add", "blackhole", "198.51.100.0/24", "table", "101")
    container.ip("-6", "route", "add", "unreachable", "2001:db8::/32", "table", "102")
    net.add()
    assert ("10.1.0.5", "103") in rules(container)


def test_adds_at_once_share_no_table(host, spaces, container):
    nets = [Net(host, spaces, container, number) for number in range(1, 6)]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        for outcome in pool.map(lambda net: net.try_add(), nets):
            outcome.expect_ok()
    assert sorted(number for _, number in rules(container)) == ["100", "101", "102", "103", "104"]
    for net in nets:
        net.check().expect_ok()


def test_a_second_add_touches_nothing(net, container):
    net.add()
    before = snapshot.settled(container)
    net.run("ADD", net.base.result, keys=net.keys).expect_error(None, "net1")
    assert snapshot.settled(container) == before
    net.check().expect_ok()


# --- CHECK, DEL, GC -------------------------------------------------------------------------------

@pytest.mark.parametrize("what, arguments", [("the rule", ["rule", "del", "from", "10.1.0.5"]),
                                             ("the default route", ["route", "del", "default", "table", "100"]),
                                             ("the subnet", ["route", "del", "10.1.0.0/24", "table", "100"]),
                                             ("the interface", ["link", "del", "net1"])])
def test_check_notices_that_something_is_missing(net, container, what, arguments):
    net.add()
    net.check().expect_ok()
    container.ip(*arguments)
    net.check().expect_error(100)


def test_check_tolerates_what_others_added(net, container):
    net.add()
    container.ip("rule", "add", "from", "192.0.2.1", "table", "7")
    container.ip("route", "add", "192.0.2.0/24", "dev", "net1", "table", "100")
    net.check().expect_ok()


@pytest.mark.parametrize("changes", [{"netns": None}, {"netns": ""}, {"netns": "/run/netns/none"}])
def test_del_without_netns(net, container, changes):
    """The reference fails, and makes a file of the path that is not there. The record leads to the namespace."""
    before = snapshot.settled(container)
    net.add()
    net.delete(with_result=False, **changes).expect_ok()
    assert snapshot.difference(before, snapshot.settled(container)) == [] and records() == []
    assert not os.path.exists("/run/netns/none")


def test_del_after_the_namespace_or_the_interface_is_gone(host, spaces, net, container):
    net.add()
    container.ip("link", "del", "net1")
    net.delete().expect_ok()
    assert rules(container) == [] and records() == []
    other = Net(host, spaces, spaces.new("c"), 2)
    other.add()
    spaces.drop(other.container)
    other.delete().expect_ok()
    assert records() == [] and not os.path.exists(other.container.path)


def test_del_after_the_interface_was_renamed(net, container):
    net.add()
    container.ip("link", "set", "net1", "down")
    container.ip("link", "set", "net1", "name", "lan0")
    net.delete().expect_ok()
    assert rules(container) == [] and table(container, 100) == []


def test_del_leaves_the_rules_of_others(net, container):
    net.add()
    container.ip("rule", "add", "from", "192.0.2.1", "table", "100")
    container.ip("rule", "add", "from", "10.1.0.5", "table", "77")
    net.delete().expect_ok()
    assert rules(container) == [("10.1.0.5", "77"), ("192.0.2.1", "100")]


@pytest.mark.parametrize("adder, remover", [(OURS, REFERENCE), (REFERENCE, OURS)], ids=["the reference removes", "the reference added"])
def test_either_plugin_removes_what_the_other_made(host, spaces, container, adder, remover):
    net = Net(host, spaces, container, 1, version="1.0.0", plugins=adder)
    net.add()
    net.delete(remover).expect_ok()
    assert rules(container) == []
    if remover is OURS:
        assert table(container, 100) == []


def test_a_failed_add_leaves_everything_as_it_was(host, spaces, container):
    net = Net(host, spaces, container, 1)
    before = snapshot.settled(container)
    net.try_add(gateways=["192.0.2.77"]).expect_error()
    assert snapshot.difference(before, snapshot.settled(container)) == [] and records() == []


def test_gc_removes_what_is_stale_only(host, spaces, container):
    nets = [Net(host, spaces, container, number) for number in (1, 2)]
    for net in nets:
        net.add()
    config = {"cniVersion": "1.1.0", "name": chained.NETWORK, "type": "sbr"}
    cni.gc(host, config, None).expect_ok()
    assert len(records()) == 2

    class Valid:
        cid, ifname = nets[1].base.cid, nets[1].ifname
    cni.gc(host, config, [Valid]).expect_ok()
    assert rules(container) == [("10.2.0.5", "101")] and len(records()) == 1
    nets[1].check().expect_ok()
    cni.status(host, config).expect_ok()
