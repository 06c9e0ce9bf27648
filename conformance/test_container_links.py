"""What macvlan, ipvlan, vlan, dummy and tap have in common: one link in the container, nothing on the host."""
import json
import os

import pytest

from conftest import reservations
from lib import configs, scenario, snapshot, traffic
from lib.cni import OURS, REFERENCE, RELEASED, Attachment, Plugins, at_least, gc, status

RECORDS = "/run/culvert/attachments"
HERE, GUEST = pytest.mark.netns, pytest.mark.vm
KINDS = {"macvlan": HERE, "tap": HERE, "ipvlan": GUEST, "vlan": GUEST, "dummy": GUEST}
KERNEL_KIND = {"tap": "tun"}
WITH_MASTER = ("macvlan", "ipvlan", "vlan")
LAYER_2 = ("macvlan", "tap")
ON_THE_WIRE = ("macvlan", "ipvlan")


def kinds(*names):
    return pytest.mark.parametrize("kind", [pytest.param(k, marks=KINDS[k]) for k in names or KINDS], indirect=True)


every_kind = kinds()


@pytest.fixture
def kind(request):
    missing = scenario.kinds_of([request.param] if KINDS[request.param] is GUEST else [])
    if missing:
        pytest.skip(f"this kernel has no {', '.join(missing)}; run in the virtual machine")
    return request.param


@pytest.fixture
def config(kind, tmp_path):
    return configs.container_link(kind, tmp_path)


@pytest.fixture
def attachment(config, host, outside, container):
    made = Attachment(host, config, container)
    made.add()
    return made


def link(ns, name="eth0"):
    return json.loads(ns.ip("-d", "-j", "link", "show", "dev", name))[0]


def records(kind):
    folder = f"{RECORDS}/{kind}"
    return os.listdir(folder) if os.path.isdir(folder) else []


def assert_gone(attachment, tmp_path):
    assert attachment.host.links() == ["uplink"]
    assert reservations(tmp_path, "wire") == {} and records(attachment.config["type"]) == []
    if os.path.exists(attachment.container.path):
        assert attachment.container.links() == []


# --- ADD ----------------------------------------------------------------------------------------

def kinds_and_versions():
    """The emulated machine takes its time: there the versions at which something changes."""
    for name, mark in KINDS.items():
        for version in RELEASED if mark is HERE else ("0.1.0", "0.4.0", "1.1.0"):
            yield pytest.param(name, version, marks=mark, id=f"{name}-{version}")


@pytest.mark.parametrize("kind, version", list(kinds_and_versions()), indirect=["kind"])
def test_life_in_every_version(kind, version, host, outside, container, tmp_path):
    attachment = Attachment(host, configs.container_link(kind, tmp_path, version), container)
    result = attachment.add()
    if at_least(version, "0.3.0"):
        (interface,) = result["interfaces"]
        assert interface["name"] == "eth0" and interface["sandbox"] == container.path
        assert interface["mac"] == link(container)["address"]
        assert [ip["interface"] for ip in result["ips"]] == [0]
    if at_least(version, "1.1.0"):
        assert result["interfaces"][0]["mtu"] == 1500
    made = link(container)
    assert made["linkinfo"]["info_kind"] == KERNEL_KIND.get(kind, kind) and "UP" in made["flags"]
    if at_least(version, "0.4.0"):
        attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_the_hosts_own_interface_names_are_not_in_the_way(config, host, outside, container, tmp_path):
    """Kernels before 6.15 look for the new name on the host."""
    host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    attachment = Attachment(host, config, container)
    assert attachment.add()["interfaces"][0]["name"] == "eth0"
    assert container.links() == ["eth0"] and "altname" not in json.dumps(link(container))
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert container.links() == [] and host.links() == ["eth0", "eth1", "uplink"]


@every_kind
def test_two_stacks_need_no_wait(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path, subnets=("198.18.0.0/24", "fd18::/64"))
    Attachment(host, config, container).add()
    addresses = json.loads(container.ip("-j", "-6", "address", "show", "dev", "eth0"))[0]["addr_info"]
    mine = [a for a in addresses if a["local"].startswith("fd18::")]
    assert len(mine) == 1 and not mine[0].get("tentative")


@kinds("macvlan", "ipvlan", "vlan", "tap")
def test_mtu(kind, host, outside, container, tmp_path):
    host.ip("link", "set", "uplink", "mtu", "1490")
    attachment = Attachment(host, configs.container_link(kind, tmp_path, mtu=1400), container)
    assert attachment.add()["interfaces"][0]["mtu"] == 1400 == link(container)["mtu"]
    attachment.delete().expect_ok()
    for bad in (-1, 67, 70000, "1500"):
        Attachment(host, configs.container_link(kind, tmp_path, mtu=bad), container).try_add().expect_error(7, "mtu")
    if kind in WITH_MASTER:
        assert Attachment(host, configs.container_link(kind, tmp_path), container).add()["interfaces"][0]["mtu"] == 1490


@kinds(*WITH_MASTER)
def test_no_more_mtu_than_the_masters(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path, mtu=1600)
    Attachment(host, config, container).try_add().expect_error(7, "mtu", "1600", "1500", "uplink")
    assert container.links() == [] and reservations(tmp_path, "wire") == {}


@kinds("macvlan", "tap")
def test_layer_2_only(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    del config["ipam"]
    attachment = Attachment(host, config, container)
    result = attachment.add()
    assert "ips" not in result and "UP" in link(container)["flags"]
    attachment.check().expect_ok()
    status(host, config).expect_ok()
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


@kinds("vlan", "dummy", "ipvlan")
def test_ipam_is_required(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    for ipam in ({}, None):
        Attachment(host, {**config, "ipam": ipam}, container).try_add().expect_error(7, "ipam")
    assert container.links() == []


@kinds("macvlan", "ipvlan", "vlan", "tap")
def test_the_configurations_dns_replaces_ipams_even_when_absent(kind, host, outside, spaces, tmp_path):
    static = {"type": "static", "addresses": [{"address": "198.18.0.60/24"}], "dns": {"nameservers": ["198.18.0.2"]}}
    config = configs.container_link(kind, tmp_path, ipam=static)
    for dns, expected in ((None, {}), ({"domain": "a.example"}, {"domain": "a.example"})):
        attachment = Attachment(host, {**config, "dns": dns} if dns else config, spaces.new("c"))
        assert attachment.add().get("dns", {}) == expected
        attachment.delete().expect_ok()


@every_kind
def test_a_second_add_is_refused_and_the_first_goes_on(attachment, host, container):
    before = snapshot.settled(container)
    attachment.run("ADD").expect_error(None, "eth0")
    assert snapshot.difference(before, snapshot.settled(container)) == []
    attachment.check().expect_ok()


@every_kind
def test_a_taken_name_is_refused_and_survives_the_runtimes_del(config, host, outside, container, tmp_path):
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
    attachment = Attachment(host, config, container)
    attachment.try_add().expect_error(None, "eth0", "already exists")
    attachment.delete().expect_ok()
    assert container.links() == ["eth0", "far"] and reservations(tmp_path, "wire") == {}


@every_kind
def test_a_failed_add_leaves_nothing(kind, host, outside, container, tmp_path):
    unreachable = {"type": "static", "addresses": [{"address": "198.18.0.60/24"}],
                   "routes": [{"dst": "10.99.0.0/16", "gw": "10.77.0.1"}]}
    before = snapshot.settled(host), snapshot.settled(container)
    Attachment(host, configs.container_link(kind, tmp_path, ipam=unreachable), container).try_add().expect_error(None, "10.99.0.0/16")
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.difference(before[1], snapshot.settled(container)) == []
    assert records(kind) == []


@every_kind
def test_an_earlier_plugins_result_is_kept(config, host, outside, container):
    previous = {"cniVersion": "1.1.0", "interfaces": [{"name": "first", "sandbox": container.path}],
                "ips": [{"address": "10.1.1.1/24", "interface": 0}]}
    result = Attachment(host, {**config, "prevResult": previous}, container, ifname="net1").add()
    assert [i["name"] for i in result["interfaces"]] == ["first", "net1"]
    assert [ip["interface"] for ip in result["ips"]] == [0, 1]


# --- masters ------------------------------------------------------------------------------------

@kinds(*ON_THE_WIRE)
def test_the_default_routes_interface_is_the_master(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    del config["master"]
    attachment = Attachment(host, config, container)
    attachment.try_add().expect_error(5, "default route")
    status(host, config).expect_error(50, "default route")
    host.ip("route", "add", "default", "via", "198.18.0.2")
    attachment.add()
    status(host, config).expect_ok()
    assert traffic.ping(container, "198.18.0.2")
    host.ip("route", "del", "default")
    attachment.check().expect_ok()  # that is not this plugin's state


@kinds(*ON_THE_WIRE)
def test_so_is_that_of_an_ipv6_default_route(kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    del config["master"]
    host.ip("route", "add", "default", "via", "fd18::2")
    Attachment(host, config, container).add()
    assert traffic.ping(container, "198.18.0.2")


@kinds(*WITH_MASTER)
def test_a_missing_master_is_refused_by_name(kind, host, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    Attachment(host, config, container).try_add().expect_error(5, "uplink")
    status(host, config).expect_error(50, "uplink")
    assert container.links() == [] and reservations(tmp_path, "wire") == {}


@kinds(*WITH_MASTER)
def test_status_notices_a_master_that_is_down(kind, host, outside, tmp_path):
    config = configs.container_link(kind, tmp_path)
    status(host, config).expect_ok()
    host.ip("link", "set", "uplink", "down")
    status(host, config).expect_error(51, "uplink")


@kinds(*WITH_MASTER)
def test_a_master_inside_the_container(kind, host, container, spaces, tmp_path):
    beyond = spaces.new("out")
    scenario.netns.join(container, beyond, "uplink", "eth0", "198.18.0.1/24", "198.18.0.2/24")
    config = configs.container_link(kind, tmp_path, linkInContainer=True)
    attachment = Attachment(host, config, container, ifname="net1")
    attachment.add()
    assert container.links() == ["net1", "uplink"] and host.links() == []
    attachment.check().expect_ok()
    status(host, config).expect_ok()
    attachment.delete().expect_ok()
    assert container.links() == ["uplink"]


@kinds(*ON_THE_WIRE)
def test_the_default_route_inside_the_container_names_a_master_there(kind, host, container, spaces, tmp_path):
    beyond = spaces.new("out")
    scenario.netns.join(container, beyond, "uplink", "eth0", "198.18.0.1/24", "198.18.0.2/24")
    container.ip("route", "add", "default", "via", "198.18.0.2")
    config = configs.container_link(kind, tmp_path, linkInContainer=True)
    del config["master"]
    Attachment(host, config, container, ifname="net1").add()
    assert link(container, "net1")["link"] == "uplink"


# --- CHECK --------------------------------------------------------------------------------------

DAMAGES = {
    "gone": (["link", "del", "eth0"],),
    "down": (["link", "set", "eth0", "down"],),
    "no address": (["address", "flush", "dev", "eth0", "scope", "global"],),
    "no route": (["route", "del", "10.98.0.0/16"],),
    "another kind": (["link", "del", "eth0"], ["link", "add", "eth0", "type", "bridge"], ["link", "set", "eth0", "up"]),
}


@every_kind
@pytest.mark.parametrize("damage", DAMAGES)
def test_check_notices(damage, kind, host, outside, container, tmp_path):
    config = configs.container_link(kind, tmp_path)
    config["ipam"]["routes"] = [{"dst": "10.98.0.0/16", "gw": "198.18.0.2"}]
    attachment = Attachment(host, config, container)
    attachment.add()
    attachment.check().expect_ok()
    for command in DAMAGES[damage]:
        container.ip(*command)
    attachment.check().expect_error(100)


@kinds("macvlan", "tap", "dummy")
def test_check_notices_another_mac(attachment, container):
    container.ip("link", "set", "eth0", "address", "02:00:00:00:00:99")
    attachment.check().expect_error(100, "02:00:00:00:00:99")


@kinds("macvlan", "ipvlan", "vlan", "tap")
def test_check_notices_another_mtu(kind, host, outside, container, tmp_path):
    attachment = Attachment(host, configs.container_link(kind, tmp_path, mtu=1400), container)
    attachment.add()
    container.ip("link", "set", "eth0", "mtu", "1350")
    attachment.check().expect_error(100, "1350")


@kinds(*WITH_MASTER)
def test_check_notices_another_master(attachment, host):
    host.ip("link", "set", "uplink", "down")
    host.ip("link", "set", "uplink", "name", "other")
    host.ip("link", "set", "other", "up")
    attachment.check().expect_error(100, "uplink")
    host.ip("link", "add", "uplink", "type", "veth", "peer", "name", "far")
    attachment.check().expect_error(100, "uplink")


@every_kind
def test_check_compares_with_prev_result(attachment):
    attachment.run("CHECK", attachment.config).expect_error(7, "prevResult")
    wrong = json.loads(json.dumps(attachment.result))
    wrong["interfaces"][0]["sandbox"] = "/run/netns/another"
    attachment.check(wrong).expect_error(100, "sandbox")


# --- DEL ----------------------------------------------------------------------------------------

@every_kind
@pytest.mark.parametrize("with_result", [True, False])
def test_del_works_any_number_of_times(with_result, attachment, tmp_path):
    for _ in range(3):
        attachment.delete(with_result).expect_ok()
        assert_gone(attachment, tmp_path)


@every_kind
@pytest.mark.parametrize("netns", [None, "", "/run/netns/never-was"])
def test_del_without_the_netns_finds_the_link_through_its_record(netns, attachment, tmp_path):
    attachment.delete(with_result=False, netns=netns).expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_del_after_the_namespace_is_gone(attachment, spaces, tmp_path):
    spaces.drop(attachment.container)
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_del_of_what_was_renamed(attachment, container, tmp_path):
    container.ip("link", "set", "eth0", "down")
    container.ip("link", "set", "eth0", "name", "lan0")
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_del_of_what_was_never_added(config, host, outside, container, tmp_path):
    attachment = Attachment(host, config, container)
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


@kinds(*WITH_MASTER)
def test_del_after_the_master_vanished(attachment, host, container, tmp_path):
    host.ip("link", "del", "uplink")
    assert container.links() == []
    attachment.delete().expect_ok()
    assert reservations(tmp_path, "wire") == {} and records(attachment.config["type"]) == []


@every_kind
def test_del_with_a_configuration_that_became_invalid(attachment, tmp_path):
    attachment.config = {**attachment.config, "mtu": 1, "master": "no/where", "mode": "none", "vlanId": 9999, "owner": "root"}
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_del_leaves_the_link_of_another_attachment_alone(attachment, host, container):
    other = Attachment(host, {**attachment.config, "name": "second"}, container)
    other.try_add().expect_error(None, "already exists")
    other.delete().expect_ok()
    attachment.check().expect_ok()


@kinds(*WITH_MASTER)
def test_del_removes_what_the_reference_made(config, host, outside, container, tmp_path):
    attachment = Attachment(host, {**config, "cniVersion": "1.0.0"}, container, plugins=REFERENCE)
    attachment.add()
    attachment.plugins = Attachment(host, config).plugins
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


@every_kind
def test_del_with_a_damaged_record(attachment, tmp_path):
    (record,) = records(attachment.config["type"])
    with open(f"{RECORDS}/{attachment.config['type']}/{record}", "w") as f:
        f.write("{")
    attachment.delete(netns=None).expect_ok()
    assert reservations(tmp_path, "wire") == {} and records(attachment.config["type"]) == []


# --- IPAM that speaks through the link -------------------------------------------------------------

SPEAKING_IPAM = """#!/bin/sh
cat > /dev/null
nsenter --net="$CNI_NETNS" ip -o link > {log}/links.$CNI_COMMAND
[ ! -e {log}/fail ] || {{ echo '{{"cniVersion":"1.1.0","code":11,"msg":"no lease"}}'; exit 1; }}
[ "$CNI_COMMAND" != ADD ] || echo '{{"cniVersion":"1.1.0","ips":[{{"address":"198.18.0.70/24"}}]}}'
"""


@kinds("macvlan", "tap", "vlan")
def test_an_ipam_that_speaks_through_the_link_finds_it(kind, host, outside, container, tmp_path):
    plugins = Plugins(*OURS.folders, str(tmp_path))
    (tmp_path / "lease").write_text(SPEAKING_IPAM.format(log=tmp_path))
    (tmp_path / "lease").chmod(0o755)
    attachment = Attachment(host, configs.container_link(kind, tmp_path, ipam={"type": "lease"}), container, plugins=plugins)
    attachment.add()
    assert attachment.addresses == ["198.18.0.70"]
    attachment.delete().expect_ok()
    for verb in ("ADD", "DEL"):
        assert "eth0" in (tmp_path / f"links.{verb}").read_text(), verb
    (tmp_path / "fail").touch()
    attachment.try_add().expect_error(None, "no lease")
    assert container.links() == [] and records(kind) == []


# --- GC -----------------------------------------------------------------------------------------

@kinds("macvlan", "ipvlan", "dummy", "tap")
def test_gc_removes_exactly_what_is_not_valid(config, host, outside, spaces, tmp_path):
    made = [Attachment(host, config, spaces.new("c")) for _ in range(3)]
    elsewhere = configs.on_the_wire(tmp_path, "10.44.0.0/24")  # ipvlan refuses an address that a neighbour has
    stranger = Attachment(host, {**config, "name": "other", "ipam": elsewhere}, spaces.new("c"))
    for attachment in (*made, stranger):
        attachment.add()
    gc(host, config, None).expect_ok()
    assert len(reservations(tmp_path, "wire")) == 3
    gc(host, config, made[:1]).expect_ok()
    assert [a.container.links() for a in made] == [["eth0"], [], []]
    assert list(reservations(tmp_path, "wire")) == made[0].addresses
    made[0].check().expect_ok()
    gc(host, config, []).expect_ok()
    assert made[0].container.links() == [] and records(config["type"]) != []
    stranger.check().expect_ok()


@every_kind
def test_gc_copes_with_namespaces_that_are_gone(attachment, host, spaces, tmp_path):
    spaces.drop(attachment.container)
    gc(host, attachment.config, []).expect_ok()
    assert_gone(attachment, tmp_path)


# --- STATUS -------------------------------------------------------------------------------------

@every_kind
def test_status_asks_ipam(config, host, outside):
    status(host, config).expect_ok()
    status(host, {**config, "ipam": {"type": "host-local"}}).expect_error()
    status(host, {**config, "ipam": {"type": "no-such-plugin"}}).expect_error(None, "no-such-plugin")


@pytest.mark.netns
@pytest.mark.parametrize("kind", [k for k, mark in KINDS.items() if mark is GUEST])
def test_status_says_that_the_kernel_has_no_such_links(kind, host, outside, tmp_path):
    if not scenario.kinds_of([kind]):
        pytest.skip(f"this kernel has {kind}")
    status(host, configs.container_link(kind, tmp_path)).expect_error(50, "kernel")


# --- hostile input ------------------------------------------------------------------------------

BAD = {
    "macvlan": dict(master=["a/b", 7, "sixteen-bytes-xx"], mode=["source", 1], mac=["zz", "01:00:00:00:00:01"], bcqueuelen=[-1, 2 ** 32],
                    linkInContainer=["yes"], mtu=["x"], dns=[7], ipam=[7, {"type": 1}, {"type": "../x"}]),
    "ipvlan": dict(master=["a/b", 7], mode=["l4", 1], linkInContainer=["yes"], mtu=["x"], dns=[7], ipam=[7, {"type": "../x"}]),
    "vlan": dict(master=["", "a/b", 7], vlanId=[-1, 4095, "7"], linkInContainer=["yes"], mtu=["x"], dns=[7], ipam=[7, {"type": ".."}]),
    "dummy": dict(ipam=[7, {"type": 1}, {"type": "../x"}]),
    "tap": dict(multiQueue=["yes"], owner=[-1, 2 ** 32, "root"], group=[-1, 2 ** 32 - 1], mac=["zz"], bridge=["a/b", 1], selinuxContext=[1],
                mtu=["x"], dns=[7], ipam=[7, {"type": 1}]),
}


@every_kind
def test_bad_values_are_refused_by_name_before_anything_changes(kind, host, outside, container, tmp_path):
    before = snapshot.settled(host), snapshot.settled(container)
    for key, values in BAD[kind].items():
        for value in values:
            config = configs.container_link(kind, tmp_path, **{key: value})
            Attachment(host, config, container).try_add().expect_error(7, key if key != "ipam" else "")
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.difference(before[1], snapshot.settled(container)) == []
    assert records(kind) == []
