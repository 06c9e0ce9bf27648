"""host-device: the reference's cases with virtual interfaces; with PCI network cards in the virtual machine."""
import concurrent.futures
import json
import os
import re
import time

import pytest

from lib import cni, configs, netns, snapshot, traffic
from lib.cni import OURS, REFERENCE, Attachment

netns_mark, vm_mark = pytest.mark.netns, pytest.mark.vm
RECORDS = "/run/culvert/attachments/host-device"
FAR = "10.44.0.1"


def config(version=cni.LATEST, **keys):
    return {"cniVersion": version, "name": "hardware", "type": "host-device", **(keys or {"device": "dev0"})}


def with_ipam(tmp_path, *more, **keys):
    ipam = configs.host_local(tmp_path, "10.44.0.0/24", *more, routes=("0.0.0.0/0",))
    return config(**(keys or {"device": "dev0"}), ipam=ipam)


def link(ns, name):
    return next((l for l in snapshot.links(ns) if l["ifname"] == name), None)


def records():
    return sorted(os.listdir(RECORDS)) if os.path.isdir(RECORDS) else []


def reserved(tmp_path):
    folder = tmp_path / "hardware"
    return sorted(n for n in os.listdir(folder) if n[0].isdigit()) if folder.is_dir() else []


@pytest.fixture
def far(spaces):
    ns = spaces.new("far")
    return ns


@pytest.fixture
def device(host, far):
    """dev0 on the host: one end of a wire whose other end has the gateway's address."""
    host.ip("link", "add", "dev0", "mtu", "1450", "type", "veth", "peer", "name", "far0", "netns", far.name)
    far.ip("address", "add", f"{FAR}/24", "dev", "far0")
    far.ip("address", "add", "fd44::1/64", "dev", "far0", "nodad")
    far.ip("link", "set", "far0", "up")
    host.ip("link", "set", "dev0", "alias", "the third port", "up")
    return link(host, "dev0")


def is_home(host, device, name="dev0"):
    now = link(host, name)
    return now is not None and all(now.get(k) == device.get(k) for k in ("address", "mtu", "ifalias")) and \
        ("UP" in now["flags"]) == ("UP" in device["flags"])


# --- the reference's cases ------------------------------------------------------------------------

@netns_mark
@pytest.mark.parametrize("version", [v for v in cni.VERSIONS if cni.at_least(v, "0.3.0")])
def test_without_ipam_the_device_is_moved_renamed_and_up(host, container, device, version):
    attachment = Attachment(host, config(version), container)
    result = attachment.add()
    inside = link(container, "eth0")
    assert inside["ifalias"] == "dev0" and "UP" in inside["flags"] and inside["address"] == device["address"]
    assert link(host, "dev0") is None
    assert [(i["name"], i["mac"], i["sandbox"]) for i in result["interfaces"]] == [("eth0", device["address"], container.path)]
    assert result.get("ips", []) == []
    if cni.at_least(version, "0.4.0"):
        attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert is_home(host, device) and container.links() == [] and records() == []
    attachment.delete().expect_ok()


@netns_mark
def test_with_ipam_packets_flow(host, container, device, far, tmp_path):
    attachment = Attachment(host, with_ipam(tmp_path, "fd44::/64"), container)
    result = attachment.add()
    assert [ip["interface"] for ip in result["ips"]] == [0, 0]
    assert traffic.ping(container, FAR) and traffic.ping(container, "fd44::1")
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert is_home(host, device) and reserved(tmp_path) == []
    assert [a for a in json.loads(host.ip("-j", "address", "show", "dev", "dev0"))[0]["addr_info"] if a["scope"] == "global"] == []


@netns_mark
def test_by_mac(host, container, device):
    attachment = Attachment(host, config(hwaddr=device["address"].upper()), container)
    attachment.add()
    attachment.delete().expect_ok()
    assert is_home(host, device)


@netns_mark
@pytest.mark.parametrize("ifname", ["eth0", "dev0"])
def test_names_that_both_sides_use(host, spaces, container, device, ifname):
    """The container has an interface of the device's name, the host one of the container's; neither is in the way."""
    other = {"eth0": "dev0", "dev0": "eth0"}[ifname]
    container.ip("link", "add", other, "type", "veth", "peer", "name", "x0")
    host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "x0")
    attachment = Attachment(host, config(), container, ifname=ifname)
    attachment.add()
    assert sorted(container.links()) == sorted([ifname, other, "x0"])
    attachment.delete().expect_ok()
    assert is_home(host, device) and sorted(container.links()) == sorted([other, "x0"])


@netns_mark
def test_the_hosts_name_is_taken(host, container, device, far, tmp_path):
    """DEL says so, the device stays usable in the container, and the next DEL after making room brings it home."""
    attachment = Attachment(host, with_ipam(tmp_path), container)
    attachment.add()
    host.ip("link", "add", "dev0", "type", "veth", "peer", "name", "x0")
    attachment.delete().expect_error(None, "dev0", "eth0")
    assert "UP" in link(container, "eth0")["flags"] and traffic.ping(container, FAR)
    assert reserved(tmp_path) == []
    host.ip("link", "del", "dev0")
    attachment.delete().expect_ok()
    assert is_home(host, device) and records() == []


@netns_mark
def test_the_interface_is_in_the_container_already(host, container, device, tmp_path):
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "x0")
    Attachment(host, with_ipam(tmp_path), container).try_add().expect_error(None, "eth0", "exists")
    assert is_home(host, device) and reserved(tmp_path) == [] and records() == []


@netns_mark
def test_a_second_add_touches_nothing(host, container, device, tmp_path):
    attachment = Attachment(host, with_ipam(tmp_path), container)
    attachment.add()
    before = snapshot.settled(container), reserved(tmp_path), records()
    attachment.try_add().expect_error()
    assert (snapshot.settled(container), reserved(tmp_path), records()) == before
    attachment.check().expect_ok()


@netns_mark
@pytest.mark.parametrize("keys, code", [({"device": "none0"}, None), ({"device": "lo"}, 7), ({"hwaddr": "02:00:00:00:00:99"}, None),
                                        ({"kernelpath": "/sys/devices/none"}, None), ({"pciBusID": "ffff:1f:1f.7"}, None),
                                        ({"runtimeConfig": {"deviceID": "none.sf.1"}}, None)])
def test_a_device_that_is_not_there(host, container, tmp_path, keys, code):
    Attachment(host, with_ipam(tmp_path, **keys), container).try_add().expect_error(code or 5)
    assert reserved(tmp_path) == [] and records() == []
    if "lo" not in keys.values():
        cni.status(host, config(**keys)).expect_error(50)


@netns_mark
@pytest.mark.parametrize("keys", [{"kernelpath": "/sys/devices/../../etc"}, {"kernelpath": "/etc"}, {"pciBusID": "../../class/net"},
                                  {"pciBusID": "0000:00:00.0/../x"}, {"runtimeConfig": {"deviceID": "../x.y"}}, {"device": "a/b"},
                                  {"hwaddr": "nonsense"}, {"device": ["dev0"]}, {"DPDKMode": "x", "device": "dev0"}, {"name": "hardware"}])
def test_bad_values_are_refused(host, container, device, keys):
    Attachment(host, config(**keys), container).try_add().expect_error(7)
    assert is_home(host, device) and container.links() == []


@netns_mark
def test_user_space_mode_only_reserves(host, container, device, tmp_path):
    attachment = Attachment(host, with_ipam(tmp_path, device="dev0", DPDKMode=True), container)
    result = attachment.add()
    assert is_home(host, device) and container.links() == []
    assert result["interfaces"][0]["name"] == "eth0" and len(result["ips"]) == 1 and reserved(tmp_path) != []
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert reserved(tmp_path) == [] and is_home(host, device)


@netns_mark
def test_the_configurations_dns_replaces_ipams(host, container, device, tmp_path):
    keys = with_ipam(tmp_path)
    assert Attachment(host, {**keys, "dns": {"nameservers": ["192.0.2.53"]}}, container).add()["dns"] == {"nameservers": ["192.0.2.53"]}


# --- coming home ----------------------------------------------------------------------------------

@netns_mark
def test_renamed_in_the_container(host, container, device):
    """The reference cannot delete such a pod (plugins#766)."""
    attachment = Attachment(host, config(), container)
    attachment.add()
    container.ip("link", "set", "eth0", "down")
    container.ip("link", "set", "eth0", "name", "lan0")
    attachment.delete().expect_ok()
    assert is_home(host, device) and container.links() == []


@netns_mark
def test_what_the_container_changed_is_undone(host, container, device):
    attachment = Attachment(host, config(), container)
    attachment.add()
    container.ip("link", "set", "eth0", "address", "02:00:00:00:00:77", "mtu", "1300")
    attachment.delete().expect_ok()
    assert is_home(host, device)


@netns_mark
def test_a_device_that_was_down_comes_home_down(host, container, device):
    host.ip("link", "set", "dev0", "down")
    attachment = Attachment(host, config(), container)
    attachment.add()
    assert "UP" in link(container, "eth0")["flags"]
    attachment.delete().expect_ok()
    assert "UP" not in link(host, "dev0")["flags"]


@netns_mark
@pytest.mark.parametrize("changes", [{"netns": None}, {"netns": ""}, {"netns": "/run/netns/none"}])
def test_del_without_netns_brings_it_home_by_its_record(host, container, device, tmp_path, changes):
    attachment = Attachment(host, with_ipam(tmp_path), container)
    attachment.add()
    attachment.delete(with_result=False, **changes).expect_ok()
    assert is_home(host, device) and reserved(tmp_path) == []


@netns_mark
def test_del_when_the_namespace_is_gone_releases_the_address(host, spaces, container, device, tmp_path):
    """The reference leaks it (plugins#1196). A virtual device ends with its namespace."""
    attachment = Attachment(host, with_ipam(tmp_path), container)
    attachment.add()
    spaces.drop(container)
    began = time.monotonic()
    attachment.delete().expect_ok()
    assert reserved(tmp_path) == [] and records() == [] and time.monotonic() - began < 1
    attachment.delete(netns=None).expect_ok()


@netns_mark
def test_del_does_not_need_the_configuration_of_add(host, container, device):
    attachment = Attachment(host, config(), container)
    attachment.add()
    attachment.run("DEL", config(device="another0")).expect_ok()
    assert is_home(host, device)


@netns_mark
def test_del_of_something_never_added_leaves_the_interface(host, container):
    """An interface of the same name that no host-device brought; ours carry an alias, which is no name."""
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "x0")
    for alias in ("", "culvert 0123456789abcdef-0123456789abcdef, net: n, id: c, if: eth0"):
        container.ip("link", "set", "eth0", "alias", alias)
        Attachment(host, config(), container).delete().expect_ok()
        assert "eth0" in container.links() and host.links() == []


@netns_mark
@pytest.mark.parametrize("adder, remover", [(OURS, REFERENCE), (REFERENCE, OURS)], ids=["the reference removes", "the reference added"])
def test_either_plugin_brings_home_what_the_other_moved(host, container, device, tmp_path, adder, remover):
    given = {**with_ipam(tmp_path), "cniVersion": "1.0.0"}
    attachment = Attachment(host, given, container, plugins=adder)
    attachment.add()
    attachment.plugins = remover
    attachment.delete().expect_ok()
    back = link(host, "dev0")
    assert back["address"] == device["address"] and "UP" not in back["flags"]


@netns_mark
def test_two_adds_for_one_device(host, spaces, device):
    """One gets it; the other's failure does not take it away again."""
    attachments = [Attachment(host, config(), spaces.new("c")) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda a: a.try_add(), attachments))
    winners = [a for a, outcome in zip(attachments, outcomes) if outcome.ok]
    assert len(winners) == 1, outcomes
    winners[0].check().expect_ok()
    for loser in attachments:
        if loser is not winners[0]:
            loser.delete().expect_ok()
            assert loser.container.links() == []
    winners[0].check().expect_ok()
    winners[0].delete().expect_ok()
    assert is_home(host, device)


@netns_mark
def test_a_failed_add_brings_it_home(host, container, device, tmp_path):
    given = with_ipam(tmp_path)
    given["ipam"]["routes"] = [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]  # not on the link
    Attachment(host, given, container).try_add().expect_error()
    assert is_home(host, device) and container.links() == [] and reserved(tmp_path) == [] and records() == []


@netns_mark
def test_gc_brings_home_what_is_stale_only(host, spaces, far, device, tmp_path):
    host.ip("link", "add", "dev1", "type", "veth", "peer", "name", "far1", "netns", far.name)
    stale = Attachment(host, with_ipam(tmp_path), spaces.new("c"))
    valid = Attachment(host, with_ipam(tmp_path, device="dev1"), spaces.new("c"))
    for one in (stale, valid):
        one.add()
    cni.gc(host, stale.config, None).expect_ok()
    assert len(records()) == 2
    cni.gc(host, stale.config, [valid]).expect_ok()
    assert is_home(host, device) and len(records()) == 1 and len(reserved(tmp_path)) == 1
    valid.check().expect_ok()


@netns_mark
@pytest.mark.parametrize("what", ["down", "renamed", "address", "mac", "removed"])
def test_check_notices(host, container, device, tmp_path, what):
    attachment = Attachment(host, with_ipam(tmp_path), container)
    attachment.add()
    attachment.check().expect_ok()
    if what == "down":
        container.ip("link", "set", "eth0", "down")
    elif what == "renamed":
        container.ip("link", "set", "eth0", "down")
        container.ip("link", "set", "eth0", "name", "lan0")
    elif what == "address":
        container.ip("address", "flush", "dev", "eth0")
    elif what == "mac":
        container.ip("link", "set", "eth0", "address", "02:00:00:00:00:77")
    else:
        container.ip("link", "del", "eth0")
    attachment.check().expect_error(100)


@netns_mark
def test_status_looks_for_the_device(host, container, device, tmp_path):
    attachment = Attachment(host, with_ipam(tmp_path), container)
    cni.status(host, attachment.config).expect_ok()
    attachment.add()
    cni.status(host, attachment.config).expect_error(50, "dev0")
    attachment.delete().expect_ok()
    cni.status(host, attachment.config).expect_ok()
    cni.status(host, {"cniVersion": "1.1.0", "name": "hardware", "type": "host-device", "capabilities": {"deviceID": True}}).expect_ok()


# --- real network cards (./dev vm, CULVERT_VM_NICS=2) ---------------------------------------------

class Machine(netns.NetNs):
    """The guest's own, initial network namespace, where its PCI cards are."""

    def __init__(self):
        self.name, self.path = "initial", "/proc/1/ns/net"

    def bus_id(self, name):
        with self.enter():
            found = re.search(r"/(\w{4}:\w\w:\w\w\.\d)/virtio\d+/net/", os.path.realpath(f"/sys/class/net/{name}") + "/")
        return found.group(1)


@pytest.fixture
def machine(spaces):
    with open("/proc/cmdline") as f:
        if not re.search(r"culvert\.nics=[2-9]", f.read()):
            pytest.skip("needs the virtual machine with two network cards: CULVERT_VM_NICS=2 ./dev vm")
    made = Machine()
    for card in ("eth0", "eth1"):
        made.ip("link", "set", card, "up")
    yield made
    spaces.close()
    deadline = time.monotonic() + 5
    while {"eth0", "eth1"} - set(made.links()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {"eth0", "eth1"} <= set(made.links()), "a card did not come home"


SELECTORS = {"device": lambda m: {"device": "eth1"}, "hwaddr": lambda m: {"hwaddr": link(m, "eth1")["address"]},
             "pciBusID": lambda m: {"pciBusID": m.bus_id("eth1")},
             "deviceID": lambda m: {"runtimeConfig": {"deviceID": m.bus_id("eth1")}},
             "kernelpath": lambda m: {"kernelpath": os.path.realpath("/sys/class/net/eth1/device")}}


@vm_mark
@pytest.mark.parametrize("selector", SELECTORS)
def test_a_card_moves_and_comes_home(machine, spaces, tmp_path, selector):
    """Both cards, on one wire: their containers reach each other through it."""
    before = link(machine, "eth1")
    one = Attachment(machine, with_ipam(tmp_path, **SELECTORS[selector](machine)), spaces.new("c"))
    two = Attachment(machine, with_ipam(tmp_path, device="eth0"), spaces.new("c"))
    for attachment in (one, two):
        attachment.add()
        attachment.check().expect_ok()
    assert link(one.container, "eth0")["ifalias"] == "eth1" and machine.links() == []
    assert traffic.ping(one.container, two.addresses[0], wait=5)
    for attachment in (one, two):
        attachment.delete().expect_ok()
    after = link(machine, "eth1")
    assert [after[k] for k in ("ifindex", "address", "mtu")] == [before[k] for k in ("ifindex", "address", "mtu")]
    assert "UP" in after["flags"] and "ifalias" not in after
    assert reserved(tmp_path) == [] and records() == []


@vm_mark
@pytest.mark.parametrize("which, name", [("eth1", "net0"), ("eth1", "eth0"), ("eth0", "eth1")])
def test_a_cards_namespace_goes_with_the_card_inside(machine, spaces, tmp_path, which, name):
    """The kernel gives it back to the initial namespace, under the container's name, or one of its own if that is taken."""
    container = spaces.new("c")
    attachment = Attachment(machine, with_ipam(tmp_path, device=which), container, ifname=name)
    attachment.add()
    container.ip("link", "set", name, "address", "02:00:00:00:00:42")
    spaces.drop(container)
    attachment.delete().expect_ok()
    after = link(machine, which)
    assert after["address"].startswith("52:54:00") and "UP" in after["flags"] and "ifalias" not in after
    assert sorted(machine.links()) == ["eth0", "eth1"] and reserved(tmp_path) == [] and records() == []


@vm_mark
def test_gc_finds_a_card_that_the_kernel_gave_back(machine, spaces, tmp_path):
    container = spaces.new("c")
    attachment = Attachment(machine, with_ipam(tmp_path, device="eth1"), container, ifname="net0")
    attachment.add()
    spaces.drop(container)
    deadline = time.monotonic() + 5
    while "net0" not in machine.links() and time.monotonic() < deadline:
        time.sleep(0.02)
    cni.gc(machine, attachment.config, []).expect_ok()
    assert sorted(machine.links()) == ["eth0", "eth1"] and reserved(tmp_path) == [] and records() == []


@vm_mark
def test_a_card_renamed_without_alias_is_known_by_its_own_address(machine, spaces):
    container = spaces.new("c")
    attachment = Attachment(machine, config(device="eth1"), container)
    attachment.add()
    container.ip("link", "set", "eth0", "down")
    container.ip("link", "set", "eth0", "name", "lan0", "address", "02:00:00:00:00:42")
    container.ip("link", "set", "lan0", "alias", "")
    attachment.delete().expect_ok()
    assert link(machine, "eth1")["address"].startswith("52:54:00")


@vm_mark
def test_a_card_stays_where_it_is_while_its_name_is_taken(machine, spaces):
    container = spaces.new("c")
    attachment = Attachment(machine, config(device="eth1"), container)
    attachment.add()
    machine.ip("link", "set", "eth0", "down")
    machine.ip("link", "set", "eth0", "name", "eth1")
    try:
        attachment.delete().expect_error(None, "eth1")
        assert "UP" in link(container, "eth0")["flags"]
    finally:
        machine.ip("link", "set", "eth1", "name", "eth0")
    attachment.delete().expect_ok()


@vm_mark
def test_a_card_of_the_reference(machine, spaces, tmp_path):
    """Moved by the reference, its namespace gone: the alias alone tells whose name it had."""
    container = spaces.new("c")
    attachment = Attachment(machine, {**with_ipam(tmp_path, device="eth1"), "cniVersion": "1.0.0"}, container, ifname="net0",
                            plugins=REFERENCE)
    attachment.add()
    spaces.drop(container)
    deadline = time.monotonic() + 5
    while "net0" not in machine.links() and time.monotonic() < deadline:
        time.sleep(0.02)
    attachment.plugins = OURS
    attachment.delete().expect_ok()
    assert sorted(machine.links()) == ["eth0", "eth1"] and reserved(tmp_path) == []
