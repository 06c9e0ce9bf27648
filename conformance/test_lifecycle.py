"""DEL in every order, GC that collects, STATUS that says what is wrong, CHECK that notices, ADD that undoes."""
import os
import shutil

import pytest

from conftest import reservations
from lib import cni, configs, nft, snapshot, traffic
from lib.cni import Attachment, gc, status

pytestmark = pytest.mark.netns

CODE_STATUS = 50
SPOOFED_MASQ = dict(ipMasq=True, macspoofchk=True)


def bridge(tmp_path, **keys):
    return configs.bridge(tmp_path, **{**SPOOFED_MASQ, **keys})


def ptp(tmp_path, **keys):
    return configs.ptp(tmp_path, ipMasq=True, **keys)


KINDS = {"bridge": bridge, "ptp": ptp}


@pytest.fixture(params=KINDS)
def config(request, tmp_path):
    return KINDS[request.param](tmp_path)


@pytest.fixture
def attachment(config, host, container):
    made = Attachment(host, config, container)
    made.add()
    return made


def assert_gone(attachment, tmp_path, other_links=()):
    """No link, no nft table, no reservation; the bridge may stay, as with the reference."""
    allowed = set(other_links) | ({"cni0"} if attachment.config["type"] == "bridge" else set())
    assert set(attachment.host.links()) <= allowed
    assert nft.tables(attachment.host) == []
    assert reservations(tmp_path, attachment.config["name"]) == {}
    if attachment.container and os.path.exists(attachment.container.path):
        assert attachment.ifname not in attachment.container.links()


# --- DEL ----------------------------------------------------------------------------------------

def test_del_twice(attachment, tmp_path):
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)
    attachment.delete().expect_ok()
    attachment.delete(with_result=False).expect_ok()


def test_del_without_prev_result(attachment, tmp_path):
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


@pytest.mark.parametrize("with_result", [True, False])
def test_del_without_netns(attachment, tmp_path, with_result):
    attachment.delete(with_result, netns=None).expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_with_an_empty_netns(attachment, tmp_path):
    attachment.delete(with_result=False, netns="").expect_ok()
    assert_gone(attachment, tmp_path)


@pytest.mark.parametrize("with_result", [True, False])
def test_del_after_the_namespace_is_gone(attachment, spaces, tmp_path, with_result):
    spaces.drop(attachment.container)
    attachment.delete(with_result).expect_ok()
    assert_gone(attachment, tmp_path)
    assert not os.path.exists(attachment.container.path)


def test_del_with_a_dangling_netns_while_the_real_one_lives(attachment, tmp_path):
    """The runtime lost the path, the namespace lives on in a process: the host end still goes."""
    attachment.delete(with_result=False, netns="/run/netns/never-was").expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_after_the_link_was_removed_by_hand(attachment, container, tmp_path):
    container.ip("link", "del", "eth0")
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_after_the_link_was_renamed_in_the_container(attachment, container, tmp_path):
    container.ip("link", "set", "eth0", "down")
    container.ip("link", "set", "eth0", "name", "lan0")
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_of_something_never_added(config, host, container, tmp_path):
    attachment = Attachment(host, config, container)
    attachment.delete().expect_ok()
    assert host.links() == [] and nft.tables(host) == []


def test_ipam_del_first_then_the_plugin(attachment, host, tmp_path):
    cni.execute(host, cni.OURS, "host-local", "DEL", attachment.config, attachment.cid, attachment.netns,
                "eth0").expect_ok()
    assert reservations(tmp_path, attachment.config["name"]) == {}
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_after_a_reboot(attachment, spaces, tmp_path):
    """Namespaces, nft and /run are new, the files of host-local are as they were."""
    spaces.drop(attachment.container)
    shutil.rmtree("/run/culvert", ignore_errors=True)
    attachment.host = spaces.new("rebooted")
    assert len(reservations(tmp_path, attachment.config["name"])) == 1
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


def test_two_interfaces_of_one_container_on_one_network(config, host, outside, container, tmp_path):
    first = Attachment(host, config, container)
    second = Attachment(host, {**config, "ipam": {**config["ipam"], "routes": []}}, container, cid=first.cid, ifname="net1")
    first.add()
    second.add()
    assert len(reservations(tmp_path, config["name"])) == 2
    second.delete(with_result=False).expect_ok()
    assert list(reservations(tmp_path, config["name"])) == first.addresses
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    first.delete(with_result=False).expect_ok()
    assert_gone(first, tmp_path, ["uplink"])


def test_containers_leave_in_any_order(config, host, outside, spaces, tmp_path):
    made = [Attachment(host, config, spaces.new("c")) for _ in range(4)]
    for attachment in made:
        attachment.add()
    for leaving, staying in ((made[0], made[1:]), (made[2], [made[1], made[3]]), (made[3], [made[1]]), (made[1], [])):
        leaving.delete(with_result=False).expect_ok()
        for attachment in staying:
            assert traffic.reach(attachment.container, outside, "198.18.0.2") == "198.18.0.1"
            if not cni.IS_REFERENCE:
                attachment.check().expect_ok()
    assert_gone(made[0], tmp_path, ["uplink"])


def test_a_vanished_master_does_not_stop_del(host, container, tmp_path):
    attachment = Attachment(host, bridge(tmp_path), container)
    attachment.add()
    host.ip("link", "del", "cni0")
    attachment.delete().expect_ok()
    assert_gone(attachment, tmp_path)


def test_del_does_not_need_a_valid_configuration(attachment, tmp_path):
    """Someone changed the file after ADD: what was added is still removed."""
    attachment.config = {**attachment.config, "mtu": 1234, "ipMasq": False, "macspoofchk": False, "isGateway": False}
    attachment.delete(with_result=False).expect_ok()
    assert_gone(attachment, tmp_path)


# --- ADD ----------------------------------------------------------------------------------------

def test_add_twice_fails_and_leaves_the_first_working(attachment, host, outside, container):
    before = snapshot.settled(host), snapshot.settled(container)
    attachment.run("ADD").expect_error(None)
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.difference(before[1], snapshot.settled(container)) == []
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    attachment.check().expect_ok()


def failing_setups():
    static = {"type": "static", "addresses": [{"address": "10.20.0.9/24"}], "routes": [{"dst": "10.99.0.0/16", "gw": "10.77.0.1"}]}
    return {
        "the requested address is taken": (dict(), dict(args="IgnoreUnknown=1;IP=10.20.0.2"), "10.20.0.2"),
        "the requested address is the gateway": (dict(), dict(args="IgnoreUnknown=1;IP=10.20.0.1"), "10.20.0.1"),
        "the requested address is in no range": (dict(), dict(args="IgnoreUnknown=1;IP=10.21.0.1"), "10.21.0.1"),
        "the bridge has another address": (dict(subnets=("10.88.0.0/24",)), dict(), "cni0"),
        "the bridge is not a bridge": (dict(bridge="uplink"), dict(), "uplink"),
        "the kernel refuses the route": (dict(ipam=static), dict(), "10.99.0.0/16"),
        "the kernel refuses the mtu": (dict(mtu=70000), dict(), "70000"),
    }


@pytest.mark.parametrize("why", failing_setups())
def test_a_failed_add_leaves_nothing(why, host, outside, spaces, tmp_path):
    keys, run, needle = failing_setups()[why]
    resident = Attachment(host, bridge(tmp_path), spaces.new("resident"))
    resident.add()
    container = spaces.new("c")
    before = snapshot.settled(host), snapshot.settled(container), snapshot.files(tmp_path / "blue")
    Attachment(host, bridge(tmp_path, **keys), container).run("ADD", **run).expect_error(None, needle)
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.difference(before[1], snapshot.settled(container)) == []
    after = snapshot.files(tmp_path / "blue")
    if why == "the kernel refuses the mtu" or why.startswith("the bridge"):
        # a round robin may have moved on; addresses may not
        before[2].pop("last_reserved_ip.0"), after.pop("last_reserved_ip.0")
    assert after == before[2]
    resident.check().expect_ok()


def test_a_failed_ptp_add_leaves_nothing(host, container, tmp_path):
    config = ptp(tmp_path)
    config["ipam"] = {"type": "static", "addresses": [{"address": "10.30.0.9/24", "gateway": "10.30.0.1"}],
                      "routes": [{"dst": "10.99.0.0/16", "gw": "10.77.0.1"}]}
    before = snapshot.settled(host), snapshot.settled(container)
    Attachment(host, config, container).run("ADD").expect_error(None, "10.99.0.0/16")
    ignored = ("sysctl net/ipv4/ip_forward", "sysctl net/ipv4/conf/all/forwarding", "sysctl ipv4/")
    for old, new in zip(before, (snapshot.settled(host), snapshot.settled(container))):
        assert [d for d in snapshot.difference(old, new) if not d.startswith(ignored)] == []


def test_a_container_interface_that_exists_is_named(host, container, tmp_path):
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    Attachment(host, bridge(tmp_path), container).run("ADD").expect_error(None, "eth0")
    assert container.links() == ["eth0", "other"]
    assert set(host.links()) <= {"cni0"} and nft.tables(host) == []
    assert reservations(tmp_path, "blue") == {}


def test_force_address_replaces_a_clashing_one(host, spaces, tmp_path):
    first = Attachment(host, bridge(tmp_path), spaces.new("c"))
    first.add()
    first.delete().expect_ok()
    moved = Attachment(host, bridge(tmp_path, name="moved", subnets=("10.88.0.0/24",), forceAddress=True), spaces.new("c"))
    moved.add()
    shown = host.ip("-4", "address", "show", "dev", "cni0")
    assert "10.88.0.1/24" in shown and "10.20.0.1" not in shown


def test_the_bridge_keeps_its_mac(host, spaces, tmp_path):
    def mac():
        return next(l["address"] for l in snapshot.links(host) if l["ifname"] == "cni0")
    made = [Attachment(host, bridge(tmp_path), spaces.new("c")) for _ in range(6)]
    made[0].add()
    first = mac()
    for attachment in made[1:]:
        attachment.add()
        assert mac() == first
    for attachment in made:
        attachment.delete().expect_ok()
        assert mac() == first


def test_an_existing_bridge_is_used_as_it_is(host, container, tmp_path):
    host.ip("link", "add", "cni0", "type", "bridge")
    index = next(l["ifindex"] for l in snapshot.links(host) if l["ifname"] == "cni0")
    Attachment(host, bridge(tmp_path), container).add()
    assert index == next(l["ifindex"] for l in snapshot.links(host) if l["ifname"] == "cni0")


def test_names_tell_the_owner(attachment, host):
    """The host end is called by a hash and says in its alias whose it is."""
    link = next(l for l in snapshot.links(host) if l["ifname"] == attachment.host_veth)
    assert len(link["ifname"]) == 15
    for part in (attachment.config["name"], attachment.cid, "eth0"):
        assert part in link.get("ifalias", "")


# --- GC -----------------------------------------------------------------------------------------

def three(host, spaces, config):
    made = [Attachment(host, config, spaces.new("c")) for _ in range(3)]
    for attachment in made:
        attachment.add()
    return made


def nft_mentions(host, attachment):
    """True when anything of ours in nft speaks of this attachment (address or container id)."""
    shown = nft.text(host)
    return attachment.cid in shown or any(a in shown.replace(",", " ").split() for a in attachment.addresses)


def test_gc_removes_what_is_not_valid_and_keeps_the_rest(config, host, outside, spaces, tmp_path):
    a, b, c = three(host, spaces, config)
    other_config = {**configs.ptp(tmp_path, name="other", subnets=("10.31.0.0/24",)), "ipMasq": True}
    other = Attachment(host, other_config, spaces.new("c"))
    other.add()
    assert gc(host, config, [b]).expect_ok().stdout == b""
    assert a.container.links() == [] and c.container.links() == []
    bridge_links = ["cni0"] if config["type"] == "bridge" else []
    assert host.links() == sorted([*bridge_links, "uplink", b.host_veth, other.host_veth])
    assert list(reservations(tmp_path, config["name"])) == b.addresses
    assert list(reservations(tmp_path, "other")) == other.addresses
    assert not nft_mentions(host, a) and not nft_mentions(host, c)
    for attachment in (b, other):
        attachment.check().expect_ok()
        assert traffic.reach(attachment.container, outside, "198.18.0.2") == "198.18.0.1"


def test_gc_with_an_empty_list_removes_all_and_the_bridge(config, host, spaces, tmp_path):
    made = three(host, spaces, config)
    gc(host, config, []).expect_ok()
    assert host.links() == [] and nft.tables(host) == []
    assert all(m.container.links() == [] for m in made)
    assert reservations(tmp_path, config["name"]) == {}
    gc(host, config, []).expect_ok()


def test_gc_without_the_key_does_nothing(config, host, spaces, tmp_path):
    made = three(host, spaces, config)
    before = snapshot.settled(host), snapshot.files(tmp_path)
    gc(host, config, None).expect_ok()
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.files(tmp_path) == before[1]
    made[0].check().expect_ok()


def test_gc_tells_interfaces_of_one_container_apart(config, host, container, tmp_path):
    first = Attachment(host, config, container)
    second = Attachment(host, {**config, "ipam": {**config["ipam"], "routes": []}}, container, cid=first.cid, ifname="net1")
    first.add()
    second.add()
    gc(host, config, [first]).expect_ok()
    assert container.links() == ["eth0"]
    assert list(reservations(tmp_path, config["name"])) == first.addresses
    first.check().expect_ok()


def test_gc_keeps_a_bridge_that_others_use(host, spaces, tmp_path):
    mine = Attachment(host, bridge(tmp_path), spaces.new("c"))
    theirs = Attachment(host, bridge(tmp_path, name="green", ipMasq=False), spaces.new("c"), args="IgnoreUnknown=1;IP=10.20.0.99")
    mine.add()
    theirs.add()
    gc(host, mine.config, []).expect_ok()
    assert host.links() == sorted(["cni0", theirs.host_veth])
    theirs.check().expect_ok()


def test_gc_after_a_reboot_releases_reservations(config, host, spaces, tmp_path):
    made = three(host, spaces, config)
    for attachment in made:
        spaces.drop(attachment.container)
    shutil.rmtree("/run/culvert", ignore_errors=True)
    rebooted = spaces.new("rebooted")
    gc(rebooted, config, [made[1]]).expect_ok()
    assert list(reservations(tmp_path, config["name"])) == made[1].addresses


def test_gc_of_host_local_alone(host, container, tmp_path):
    config = configs.ipam_only(tmp_path)
    made = [Attachment(host, config, container) for _ in range(3)]
    for attachment in made:
        attachment.add()
    (tmp_path / "pool" / "10.40.0.200").touch()  # what a crash of the reference leaves
    gc(host, config, [made[2]]).expect_ok()
    assert list(reservations(tmp_path, "pool")) == made[2].addresses
    assert {"lock", "last_reserved_ip.0"} <= set(os.listdir(tmp_path / "pool"))


def test_gc_respects_reservations_in_the_old_format(host, tmp_path):
    """Container id only, no interface: valid as long as any attachment of that container is."""
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "10.40.0.7").write_text("old-one")
    (folder / "10.40.0.8").write_text("old-two")
    config = {**configs.ipam_only(tmp_path), "cni.dev/valid-attachments": [{"containerID": "old-one", "ifname": "eth0"}]}
    cni.execute(host, cni.OURS, "host-local", "GC", config).expect_ok()
    assert list(reservations(tmp_path, "pool")) == ["10.40.0.7"]


def test_gc_of_a_network_that_never_was(config, host, tmp_path):
    gc(host, config, []).expect_ok()
    assert host.links() == [] and nft.tables(host) == []


def test_gc_leaves_foreign_things_alone(host, container, tmp_path):
    host.ip("link", "add", "vethdeadbeef", "type", "veth", "peer", "name", "foreign1")
    host.run("nft", "-f", "-", stdin="table inet mine { chain post { type nat hook postrouting priority 100; ip saddr 10.20.0.2 masquerade; }; }")
    attachment = Attachment(host, bridge(tmp_path), container)
    attachment.add()
    gc(host, attachment.config, []).expect_ok()
    assert host.links() == ["foreign1", "vethdeadbeef"]
    assert nft.tables(host) == [("inet", "mine")]


# --- STATUS -------------------------------------------------------------------------------------

def test_status_of_a_fresh_machine_is_ready(config, host):
    before = snapshot.settled(host)
    assert status(host, config).expect_ok().stdout == b""
    assert snapshot.difference(before, snapshot.settled(host)) == []


def test_status_of_a_working_network_is_ready(attachment, host, tmp_path):
    before = snapshot.settled(host), snapshot.files(tmp_path)
    status(host, attachment.config).expect_ok()
    assert snapshot.difference(before[0], snapshot.settled(host)) == []
    assert snapshot.files(tmp_path) == before[1]


def test_status_reports_forwarding_off(attachment, host):
    """Containers are attached and their packets go nowhere: 51 says so to the runtime, 50 at least."""
    host.sysctl("net/ipv4/ip_forward", 0)
    status(host, attachment.config).expect_error((50, 51), "forward")
    host.sysctl("net/ipv4/ip_forward", 1)
    status(host, attachment.config).expect_ok()


@pytest.mark.parametrize("kind", ["bridge", "host-local"])
def test_status_reports_an_exhausted_subnet(kind, host, spaces, container, tmp_path):
    subnet = "10.20.0.0/29"
    config = bridge(tmp_path, subnets=(subnet,)) if kind == "bridge" else configs.ipam_only(tmp_path, subnets=(subnet,))
    made = []
    for _ in range(5):  # 8 minus network, gateway and broadcast
        made.append(Attachment(host, config, spaces.new("c")))
        made[-1].add()
    status(host, config).expect_error(CODE_STATUS, "10.20.0.")
    made.append(Attachment(host, config, container))
    made[-1].run("ADD").expect_error(None, "10.20.0.")
    made[2].delete().expect_ok()
    status(host, config).expect_ok()


def test_status_reports_a_clash_of_the_bridge_address(host, tmp_path):
    host.sysctl("net/ipv4/ip_forward", 1)
    host.ip("link", "add", "cni0", "type", "bridge")
    host.ip("address", "add", "10.99.0.1/16", "dev", "cni0")
    status(host, bridge(tmp_path)).expect_error(CODE_STATUS, "cni0", "10.99.0.1")
    status(host, bridge(tmp_path, forceAddress=True)).expect_ok()


def test_status_does_not_wait_for_what_the_next_add_would_do(host, tmp_path):
    """A bridge made at boot, nothing attached, forwarding off: ADD switches it on. A runtime that
    held pods back until STATUS is happy would never call that ADD."""
    host.ip("link", "add", "cni0", "type", "bridge")
    status(host, bridge(tmp_path)).expect_ok()


def test_status_reports_a_bridge_that_is_none(host, tmp_path):
    host.ip("link", "add", "cni0", "type", "veth", "peer", "name", "other")
    status(host, bridge(tmp_path)).expect_error(CODE_STATUS, "cni0")


# --- CHECK notices ------------------------------------------------------------------------------

def host_veth_option(*options):
    return lambda a: a.host.ip("link", "set", "dev", a.host_veth, *options)


MUTATIONS = {
    "an address removed": (lambda a: a.container.ip("address", "del", "10.20.0.2/24", "dev", "eth0"), "10.20.0.2"),
    "an address with another prefix": (lambda a: (a.container.ip("address", "del", "10.20.0.2/24", "dev", "eth0"),
                                                  a.container.ip("address", "add", "10.20.0.2/25", "dev", "eth0"),
                                                  a.container.ip("route", "add", "default", "via", "10.20.0.1")), "10.20.0.2"),
    "an IPv6 address removed": (lambda a: a.container.ip("address", "del", "fd20::2/64", "dev", "eth0"), "fd20::2"),
    "the default route removed": (lambda a: a.container.ip("route", "del", "default"), "0.0.0.0/0"),
    "the IPv6 default route removed": (lambda a: a.container.ip("-6", "route", "del", "default"), "::/0"),
    "another MAC": (lambda a: a.container.ip("link", "set", "eth0", "address", "02:00:00:00:00:99"), "02:00:00:00:00:99"),
    "the interface removed": (lambda a: a.container.ip("link", "del", "eth0"), "eth0"),
    "the port taken off the bridge": (lambda a: a.host.ip("link", "set", a.host_veth, "nomaster"), "cni0"),
    "the gateway address removed": (lambda a: a.host.ip("address", "del", "10.20.0.1/24", "dev", "cni0"), "10.20.0.1"),
    "the masquerade elements deleted": (lambda a: assert_some(nft.delete_elements(a.host, "inet", a.addresses[0])), "masq"),
    "the masquerade table deleted": (lambda a: a.host.run("nft", "delete", "table", "inet", "culvert_cni"), "masq"),
    "the anti-spoofing elements deleted": (lambda a: assert_some(nft.delete_elements(a.host, "bridge", a.host_veth)), "spoof"),
    "the anti-spoofing table deleted": (lambda a: a.host.run("nft", "delete", "table", "bridge", "culvert_cni"), "spoof"),
    "the reservation deleted": (lambda a: os.unlink(reservation(a)), "10.20.0.2"),
    "the reservation of someone else": (lambda a: write(reservation(a), "somebody\r\neth0"), "10.20.0.2"),
    "hairpin switched off": (host_veth_option("type", "bridge_slave", "hairpin", "off"), "hairpin"),
    "isolation switched off": (host_veth_option("type", "bridge_slave", "isolated", "off"), "isolat"),
}


def assert_some(count):
    assert count > 0, "there was nothing to delete: the test does not test"


def reservation(attachment):
    return os.path.join(attachment.config["ipam"]["dataDir"], "blue", "10.20.0.2")


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


@pytest.mark.parametrize("what", MUTATIONS)
def test_check_notices(what, host, container, tmp_path):
    mutate, needle = MUTATIONS[what]
    config = bridge(tmp_path, subnets=("10.20.0.0/24", "fd20::/64"), routes=("0.0.0.0/0", "::/0"), hairpinMode=True,
                    portIsolation=True)
    attachment = Attachment(host, config, container)
    attachment.add()
    attachment.check().expect_ok()
    mutate(attachment)
    attachment.check().expect_error(None, needle)


PTP_MUTATIONS = {
    "the host route removed": (lambda a: a.host.ip("route", "del", "10.30.0.2/32"), "10.30.0.2"),
    "the default route removed": (lambda a: a.container.ip("route", "del", "default"), "0.0.0.0/0"),
    "the address removed": (lambda a: a.container.ip("address", "flush", "dev", "eth0"), "10.30.0.2"),
    "the masquerade elements deleted": (lambda a: assert_some(nft.delete_elements(a.host, "inet", "10.30.0.2")), "masq"),
    "the interface removed": (lambda a: a.container.ip("link", "del", "eth0"), "eth0"),
}


@pytest.mark.parametrize("what", PTP_MUTATIONS)
def test_check_of_ptp_notices(what, host, container, tmp_path):
    mutate, needle = PTP_MUTATIONS[what]
    attachment = Attachment(host, ptp(tmp_path), container)
    attachment.add()
    attachment.check().expect_ok()
    mutate(attachment)
    attachment.check().expect_error(None, needle)


def test_check_of_static_and_host_local_compares_with_the_result(host, container, tmp_path):
    pool = Attachment(host, configs.ipam_only(tmp_path), container)
    pool.add()
    pool.check().expect_ok()
    pool.check({**pool.result, "ips": [{"address": "10.40.0.99/24"}]}).expect_error(None, "10.40.0.99")
    fixed = Attachment(host, configs.static_only(), container)
    fixed.add()
    fixed.check().expect_ok()
    fixed.check({**fixed.result, "ips": [{"address": "10.50.0.6/24"}]}).expect_error(None, "10.50.0.5")


def test_check_of_loopback_notices_that_it_is_down(host, container):
    attachment = Attachment(host, configs.loopback(), container, ifname="lo")
    attachment.add()
    container.ip("link", "set", "lo", "down")
    attachment.check().expect_error(None, "lo")


def test_check_tolerates_what_others_added(attachment, host, container):
    """More routes and addresses, and someone watching the bridge with tcpdump."""
    container.ip("address", "add", "10.9.9.9/32", "dev", "eth0")
    container.ip("route", "add", "10.98.0.0/16", "dev", "eth0")
    if attachment.config["type"] == "bridge":
        host.ip("link", "set", "cni0", "promisc", "on")
    attachment.check().expect_ok()


def test_check_of_an_l2_bridge(host, container):
    attachment = Attachment(host, configs.l2_bridge(), container)
    attachment.add()
    attachment.check().expect_ok()
    host.ip("link", "set", attachment.host_veth, "nomaster")
    attachment.check().expect_error(None, "cni0")
