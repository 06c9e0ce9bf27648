"""ipvlan: containers on the wire of a host interface, with its MAC; and as the last of a chain."""
import json

import pytest

from lib import configs, scenario, traffic
from lib.cni import Attachment

pytestmark = pytest.mark.vm

BOTH = ("198.18.0.0/24", "fd18::/64")
OTHER = ("10.77.0.0/24", "fd77::/64")


@pytest.fixture(autouse=True)
def kernel():
    if scenario.kinds_of(["ipvlan"]):
        pytest.skip("this kernel has no ipvlan; run in the virtual machine")


def ipvlan(tmp_path, **keys):
    return configs.container_link("ipvlan", tmp_path, **keys)


@pytest.fixture
def pair(host, outside, spaces, tmp_path):
    def make(**keys):
        made = [Attachment(host, ipvlan(tmp_path, **keys), spaces.new("c")) for _ in range(2)]
        for attachment in made:
            attachment.add()
        return made
    return make


def link(ns, name="eth0"):
    return json.loads(ns.ip("-d", "-j", "link", "show", "dev", name))[0]


def test_l2_connects_containers_and_the_outside(pair, host, outside):
    one, other = pair(subnets=BOTH)
    assert one.result["interfaces"][0]["mac"] == link(host, "uplink")["address"]
    for own, neighbour, server in zip(one.addresses, other.addresses, ("198.18.0.2", "fd18::2")):
        assert traffic.reach(one.container, other.container, neighbour) == own
        assert traffic.reach(one.container, outside, server) == own
        assert traffic.reach(outside, one.container, own) == server


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_l3_routes_between_containers_and_to_the_outside(mode, pair, host, outside):
    """No ARP and no broadcasts: the wire must know that the containers are behind the host's MAC."""
    one, other = pair(subnets=OTHER, mode=mode)
    mac = link(host, "uplink")["address"]
    assert link(one.container)["linkinfo"]["info_data"]["mode"] == mode
    for attachment in (one, other):
        attachment.container.ip("route", "add", "default", "dev", "eth0")
        attachment.container.ip("-6", "route", "add", "default", "dev", "eth0")
        for address in attachment.addresses:
            prefix = f"{address}/{128 if ':' in address else 32}"
            outside.ip("route", "add", prefix, "dev", "eth0")
            outside.ip("neigh", "replace", address, "lladdr", mac, "dev", "eth0")
    for own, neighbour, server in zip(one.addresses, other.addresses, ("198.18.0.2", "fd18::2")):
        assert traffic.reach(one.container, other.container, neighbour) == own
        assert traffic.reach(one.container, outside, server) == own
        assert traffic.reach(outside, one.container, own) == server


def test_modes_are_checked(host, outside, container, tmp_path):
    Attachment(host, ipvlan(tmp_path, mode="l4"), container).try_add().expect_error(7, "mode", "l4")
    attachment = Attachment(host, ipvlan(tmp_path), container)
    attachment.add()
    container.ip("link", "set", "eth0", "type", "ipvlan", "mode", "l3")
    attachment.check().expect_error(100, "mode")


def previous(*interfaces, ips=("198.18.0.60/24",), **keys):
    return {"cniVersion": "1.1.0", "interfaces": [{"name": name} for name in interfaces],
            "ips": [{"address": ip, "interface": 0} for ip in ips], "routes": [{"dst": "10.98.0.0/16", "gw": "198.18.0.2"}], **keys}


def chained(tmp_path, result, **keys):
    config = ipvlan(tmp_path, **keys)
    del config["ipam"]
    if "master" not in keys:
        del config["master"]
    return {**config, "prevResult": result}


def test_chained_it_takes_master_addresses_and_routes_from_the_previous_result(host, outside, container, tmp_path):
    config = chained(tmp_path, previous("uplink", dns={"nameservers": ["198.18.0.2"]}))
    attachment = Attachment(host, config, container)
    result = attachment.add()
    assert [i["name"] for i in result["interfaces"]] == ["eth0"]
    assert [ip["address"] for ip in result["ips"]] == ["198.18.0.60/24"] and result["ips"][0]["interface"] == 0
    assert result["dns"] == {"nameservers": ["198.18.0.2"]}
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.60"
    attachment.check().expect_ok()
    container.ip("route", "del", "10.98.0.0/16")
    attachment.check().expect_error(100, "10.98.0.0/16")
    attachment.delete().expect_ok()
    assert container.links() == []


@pytest.mark.parametrize("result, needle", [(previous(), "prevResult"), (previous("uplink", "eth9"), "prevResult"),
                                            (previous("uplink", ips=()), "addresses"), (previous("nowhere"), "nowhere")])
def test_chained_on_what_does_not_say_enough_is_refused(result, needle, host, outside, container, tmp_path):
    Attachment(host, chained(tmp_path, result), container).try_add().expect_error((5, 7), needle)
    assert container.links() == []


def test_chained_with_ipam_of_its_own_it_adds_to_the_previous_result(host, outside, container, tmp_path):
    config = {**ipvlan(tmp_path), "prevResult": previous("uplink", ips=("10.1.1.1/24",))}
    result = Attachment(host, config, container).add()
    assert [i["name"] for i in result["interfaces"]] == ["uplink", "eth0"]
    assert [ip["interface"] for ip in result["ips"]] == [0, 1]
