"""macvlan: containers on the wire of a host interface, with MACs of their own."""
import json
import time

import pytest

from lib import configs, traffic
from lib.cni import Attachment, RELEASED, at_least

pytestmark = pytest.mark.netns

def macvlan(tmp_path, version="1.1.0", **keys):
    return configs.macvlan(tmp_path, version, **keys)


@pytest.fixture
def pair(host, outside, spaces, tmp_path):
    """Two containers in one network, not yet attached: pair(mode=...)."""
    def make(**keys):
        config = macvlan(tmp_path, **keys)
        made = [Attachment(host, config, spaces.new("c")) for _ in range(2)]
        for attachment in made:
            attachment.add()
        return made
    return make


def link(ns, name="eth0"):
    return json.loads(ns.ip("-d", "-j", "link", "show", "dev", name))[0]


def info(ns, name="eth0"):
    return link(ns, name)["linkinfo"]["info_data"]


def eventually(true, seconds=2.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("version", RELEASED)
def test_life_in_every_version(version, host, outside, container, tmp_path):
    attachment = Attachment(host, macvlan(tmp_path, version), container)
    attachment.add()
    if at_least(version, "0.3.0"):
        (interface,) = attachment.result["interfaces"]
        assert interface["name"] == "eth0" and interface["sandbox"] == container.path
        assert interface["mac"] == link(container)["address"]
        assert attachment.result["ips"][0]["interface"] == 0
    assert traffic.ping(container, "198.18.0.2")
    if at_least(version, "0.4.0"):
        attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert container.links() == [] and host.links() == ["uplink"]


def test_the_link_is_what_was_configured(host, outside, container, tmp_path):
    Attachment(host, macvlan(tmp_path, mode="vepa", mtu=1400, bcqueuelen=2000, mac="02:00:00:00:00:77"), container).add()
    assert link(container)["mtu"] == 1400 and link(container)["address"] == "02:00:00:00:00:77"
    assert info(container)["mode"] == "vepa" and info(container)["bcqueuelen"] == 2000


def test_bridge_mode_connects_containers_and_the_outside(pair, outside):
    one, other = pair()
    assert traffic.reach(one.container, other.container, other.addresses[0]) == one.addresses[0]
    assert traffic.reach(one.container, outside, "198.18.0.2") == one.addresses[0]
    assert traffic.reach(outside, other.container, other.addresses[0]) == "198.18.0.2"


def test_private_mode_connects_containers_to_the_outside_only(pair):
    one, other = pair(mode="private")
    assert traffic.ping(one.container, "198.18.0.2") and traffic.ping(other.container, "198.18.0.2")
    assert not traffic.ping(one.container, other.addresses[0], wait=1)


def test_vepa_mode_connects_containers_through_a_switch_that_reflects(pair, host, outside, spaces):
    """The outside becomes a switch: a bridge whose port sends back (hairpin)."""
    one, other = pair(mode="vepa")
    assert not traffic.ping(one.container, other.addresses[0], wait=1)
    outside.ip("link", "add", "switch", "type", "bridge", "forward_delay", "0")
    outside.ip("link", "set", "eth0", "master", "switch")
    outside.ip("link", "set", "eth0", "type", "bridge_slave", "hairpin", "on")
    outside.ip("link", "set", "switch", "up")
    assert traffic.ping(one.container, other.addresses[0], count=3)


def test_passthru_takes_the_master_for_one_container(pair, host, outside, spaces, tmp_path):
    config = macvlan(tmp_path, mode="passthru")
    first = Attachment(host, config, spaces.new("c"))
    first.add()
    assert first.result["interfaces"][0]["mac"] == link(host, "uplink")["address"]
    assert traffic.ping(first.container, "198.18.0.2")
    second = Attachment(host, config, spaces.new("c"))
    second.try_add().expect_error(5, "eth0")
    assert second.container.links() == []
    first.check().expect_ok()
    first.delete().expect_ok()
    second.add()


def test_passthru_with_a_mac_has_it_and_gives_it_back(host, outside, container, tmp_path):
    before = link(host, "uplink")["address"]
    attachment = Attachment(host, macvlan(tmp_path, mode="passthru", mac="02:00:00:00:00:78"), container)
    assert attachment.add()["interfaces"][0]["mac"] == "02:00:00:00:00:78"
    assert link(container)["address"] == "02:00:00:00:00:78"
    attachment.delete().expect_ok()
    assert link(host, "uplink")["address"] == before


def test_the_runtimes_mac_wins(host, outside, spaces, tmp_path):
    env, runtime = "02:00:00:00:00:01", {"runtimeConfig": {"mac": "02:00:00:00:00:02"}}
    for keys, args, expected in ((dict(mac="02:00:00:00:00:03"), None, "02:00:00:00:00:03"),
                                 (dict(mac="02:00:00:00:00:03"), f"IgnoreUnknown=1;MAC={env}", env),
                                 (runtime, f"IgnoreUnknown=1;MAC={env}", "02:00:00:00:00:02")):
        attachment = Attachment(host, macvlan(tmp_path, **keys), spaces.new("c"), args=args)
        assert attachment.add()["interfaces"][0]["mac"] == expected
        attachment.delete().expect_ok()


def test_two_stacks_at_once_without_waiting(pair, outside):
    one, other = pair(subnets=("198.18.0.0/24", "fd18::/64"))
    for address in other.addresses:
        assert traffic.ping(one.container, address)
    assert traffic.ping(one.container, "fd18::2")


def test_neighbours_are_told_who_has_an_address_now(host, outside, spaces, tmp_path):
    """Gratuitous ARP: the outside's entry for the address follows without being asked."""
    outside.sysctl("net/ipv4/neigh/eth0/locktime", 0)
    config = macvlan(tmp_path, ipam={"type": "static", "addresses": [{"address": "198.18.0.50/24"}]})
    first, second = (Attachment(host, config, spaces.new("c")) for _ in range(2))
    first.add()
    assert traffic.ping(first.container, "198.18.0.2")
    first.delete().expect_ok()
    mac = second.add()["interfaces"][0]["mac"]
    assert eventually(lambda: mac in outside.ip("neigh", "show", "198.18.0.50"))


def test_bad_modes_are_refused_by_name(host, outside, container, tmp_path):
    Attachment(host, macvlan(tmp_path, mode="source"), container).try_add().expect_error(7, "mode", "source")
    Attachment(host, macvlan(tmp_path, bcqueuelen=-1), container).try_add().expect_error(7, "bcqueuelen")


def test_check_notices_another_mode(host, outside, container, tmp_path):
    attachment = Attachment(host, macvlan(tmp_path), container)
    attachment.add()
    container.ip("link", "set", "eth0", "type", "macvlan", "mode", "private")
    attachment.check().expect_error(100, "mode")
