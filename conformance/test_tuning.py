"""tuning: the reference's cases, its backup file, what DEL restores, what CHECK notices, the allowlist."""
import fcntl
import json
import os

import pytest

from lib import cni, configs, snapshot, traffic
from lib.cni import OURS, REFERENCE, Attachment, execute

pytestmark = pytest.mark.netns

MAC = "c2:11:22:33:44:55"
ALLOWLIST = "/etc/cni/tuning/allowlist.conf"
NAME = "tuned"
# key, value, backup key, value before, the same as `ip -d -j link` shows it
ATTRIBUTES = [("promisc", True, "promisc", False, lambda l: "PROMISC" in l["flags"]),
              ("mtu", 1400, "mtu", 1500, lambda l: l["mtu"]),
              ("txQLen", 20000, "txQLen", 1000, lambda l: l["txqlen"]),
              ("mac", MAC, "mac", None, lambda l: l["address"]),
              ("allmulti", True, "allmulti", False, lambda l: "ALLMULTI" in l["flags"])]


class Tuned:
    """A container with a ptp interface, and tuning on top."""

    def __init__(self, host, container, tmp_path, version=cni.LATEST, plugins=OURS, args=None):
        self.host, self.container, self.args, self.plugins = host, container, args, plugins
        self.base = Attachment(host, configs.ptp(tmp_path, version=version, name=NAME), container)
        self.base.add()
        self.version = version
        self.result = None
        self.original = self.link()

    def config(self, **keys):
        return {"cniVersion": self.version, "name": NAME, "type": "tuning", **keys}

    def run(self, verb, config, plugins=None, **changes):
        given = dict(cid=self.base.cid, netns=self.container.path, ifname="eth0", args=self.args, **{})
        given.update(changes)
        return execute(self.host, plugins or self.plugins, "tuning", verb, config, **given)

    def try_add(self, plugins=None, **keys):
        outcome = self.run("ADD", {**self.config(**keys), "prevResult": self.result or self.base.result}, plugins)
        if outcome.ok:
            self.result, self.keys = outcome.json, keys
        return outcome

    def add(self, plugins=None, **keys):
        return self.try_add(plugins, **keys).expect_ok().json

    def check(self, **keys):
        return self.run("CHECK", {**self.config(**(keys or self.keys)), "prevResult": self.result})

    def delete(self, plugins=None, **changes):
        return self.run("DEL", self.config(**self.keys), plugins, **changes)

    def link(self):
        return next(l for l in snapshot.links(self.container) if l["ifname"] == "eth0")

    def backup(self, folder="/run/cni/tuning"):
        path = os.path.join(folder, f"{self.base.cid}_eth0.json")
        if not os.path.exists(path):
            return None
        with open(path) as f:
            return json.load(f)


@pytest.fixture
def tuned(host, container, tmp_path):
    return Tuned(host, container, tmp_path)


@pytest.fixture
def allowlist():
    """Writes the node's allowlist; on a file system of the test's own, if the machine has no such folder. Workers take turns: the
    kernel takes away what the others have mounted there when one removes the folder."""
    turn = os.open("/etc", os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    made = not os.path.isdir(os.path.dirname(ALLOWLIST))
    os.makedirs(os.path.dirname(ALLOWLIST), exist_ok=True)
    from lib import netns
    netns.mount_tmpfs(os.path.dirname(ALLOWLIST))

    def write(text):
        with open(ALLOWLIST, "w") as f:
            f.write(text)
    yield write
    netns._check(netns._libc.umount(os.path.dirname(ALLOWLIST).encode()), "umount")
    if made:
        os.rmdir(os.path.dirname(ALLOWLIST))
    os.close(turn)


def records():
    folder = "/run/culvert/attachments/tuning"
    return os.listdir(folder) if os.path.isdir(folder) else []


# --- the reference's cases ------------------------------------------------------------------------

@pytest.mark.parametrize("version", [v for v in cni.VERSIONS if cni.at_least(v, "0.3.0")])
def test_without_anything_configured_the_result_passes_through(host, container, tmp_path, version):
    tuned = Tuned(host, container, tmp_path, version)
    assert tuned.add() == tuned.base.result
    assert tuned.backup() is None and records() == []
    if cni.at_least(version, "0.4.0"):
        tuned.check().expect_ok()
    tuned.delete().expect_ok()


@pytest.mark.parametrize("where", ["the configuration", "args"])
@pytest.mark.parametrize("key, value, name, before, seen", ATTRIBUTES, ids=[a[0] for a in ATTRIBUTES])
def test_an_attribute_is_set_backed_up_and_restored(tuned, where, key, value, name, before, seen):
    tuned.add(**({key: value} if where == "the configuration" else {"args": {"cni": {key: value}}}))
    assert seen(tuned.link()) == value
    assert tuned.backup() == {name: tuned.original["address"] if key == "mac" else before}
    tuned.check().expect_ok()
    tuned.delete().expect_ok()
    assert seen(tuned.link()) == seen(tuned.original)
    assert tuned.backup() is None and records() == []
    tuned.delete().expect_ok()


def test_the_result_says_the_new_mac_and_mtu(tuned):
    result = tuned.add(mac=MAC, mtu=1400)
    inside = next(i for i in result["interfaces"] if i["name"] == "eth0")
    assert inside["mac"] == MAC and inside.get("mtu", 1400) == 1400
    outside = next(i for i in result["interfaces"] if i["name"] != "eth0")
    assert outside == next(i for i in tuned.base.result["interfaces"] if i["name"] != "eth0")


def test_the_mac_of_cni_args_and_of_the_runtime(tuned):
    tuned.args = f"IgnoreUnknown=true;MAC={MAC}"
    tuned.add(mac="c2:00:00:00:00:01")
    assert tuned.link()["address"] == MAC
    tuned.delete().expect_ok()
    tuned.result = None
    tuned.add(runtimeConfig={"mac": "c2:00:00:00:00:02"})
    assert tuned.link()["address"] == "c2:00:00:00:00:02"


def test_all_at_once_with_a_data_directory_of_its_own(tuned, tmp_path):
    folder = str(tmp_path / "backups")
    tuned.add(mac=MAC, mtu=1454, promisc=True, allmulti=True, txQLen=1234, dataDir=folder)
    assert tuned.backup(folder) == {"mac": tuned.original["address"], "promisc": False, "mtu": 1500, "allmulti": False, "txQLen": 1000}
    tuned.check().expect_ok()
    tuned.delete().expect_ok()
    now = tuned.link()
    assert all(seen(now) == seen(tuned.original) for *_, seen in ATTRIBUTES)
    assert tuned.backup(folder) is None


def test_prev_result_is_required(tuned):
    tuned.run("ADD", tuned.config(mtu=1400)).expect_error(7, "prevResult")
    assert tuned.link()["mtu"] == 1500
    tuned.run("CHECK", tuned.config(mtu=1400)).expect_error(7, "prevResult")


# --- sysctls --------------------------------------------------------------------------------------

def test_sysctls_are_the_containers_only(tuned, host):
    before = host.sysctl("net/core/somaxconn")
    tuned.add(sysctl={"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"})
    assert tuned.container.sysctl("net/core/somaxconn") == "500"
    assert tuned.container.sysctl("net/ipv4/conf/eth0/arp_filter") == "1"
    assert host.sysctl("net/core/somaxconn") == before
    tuned.check().expect_ok()


def test_del_restores_the_interfaces_sysctls_and_leaves_the_namespaces(tuned):
    """Another attachment may have set the same one of the namespace, and rely on it."""
    tuned.add(sysctl={"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"})
    tuned.delete().expect_ok()
    assert tuned.container.sysctl("net/ipv4/conf/eth0/arp_filter") == "0"
    assert tuned.container.sysctl("net/core/somaxconn") == "500"
    assert records() == []


def test_sysctls_in_args_alone(tuned):
    """The reference panics."""
    tuned.add(args={"cni": {"sysctl": {"net.core.somaxconn": "600"}}})
    assert tuned.container.sysctl("net/core/somaxconn") == "600"


def test_check_does_not_mind_white_space(tuned):
    tuned.add(sysctl={"net.ipv4.ping_group_range": "0 2147483647"})
    assert tuned.container.sysctl("net/ipv4/ping_group_range") == "0\t2147483647"
    tuned.check().expect_ok()
    tuned.check(sysctl={"net.ipv4.ping_group_range": "0 1"}).expect_error(100, "ping_group_range")


def test_a_sysctl_that_can_only_be_written(tuned):
    tuned.add(sysctl={"net.ipv4.route.flush": "1"})
    tuned.check().expect_ok()


def test_duplicate_sysctls_are_refused(tuned):
    config = json.dumps({**tuned.config(), "prevResult": tuned.base.result})[:-1]
    for twice in ('"net.core.somaxconn": "1", "net.core.somaxconn": "2"', '"net.core.somaxconn": "1", "net/core/somaxconn": "1"'):
        tuned.run("ADD", f'{config}, "sysctl": {{{twice}}}}}').expect_error(7, "duplicated", "somaxconn")


@pytest.mark.parametrize("key", ["kernel.hostname", "net.core.nonsense", "net/../kernel/hostname", "net.ipv4.conf.IFNAME/../../../../kernel/hostname",
                                 "net", "", "../net/core/somaxconn", "net.core"])
def test_no_sysctl_outside_net_is_reached(tuned, key):
    before = snapshot.settled(tuned.container), tuned.container.sysctl("kernel/hostname")
    tuned.try_add(sysctl={key: "1"}, mtu=1300).expect_error((5, 7))
    assert (snapshot.settled(tuned.container), tuned.container.sysctl("kernel/hostname")) == before
    assert tuned.backup() is None and records() == []


def test_a_value_that_the_kernel_refuses_leaves_nothing_changed(tuned):
    before = snapshot.settled(tuned.container)
    tuned.try_add(mtu=1300, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.conf.IFNAME.rp_filter": "many"}).expect_error(
        None, "rp_filter")
    tuned.try_add(mtu=65536, mac=MAC).expect_error(None, "mtu")
    assert snapshot.difference(before, snapshot.settled(tuned.container)) == []
    assert tuned.backup() is None and records() == []


# --- the allowlist --------------------------------------------------------------------------------

@pytest.mark.parametrize("text, allowed", [
    ("^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n", True), ("nothing\n  net.ipv4  \n", True), ("arp_filter", True),
    ("^net\\.ipv4\\.conf\\.eth0\\.arp_filter$\n", False), ("", False), ("^net\\.core\n", False)])
def test_the_allowlist_decides(tuned, host, allowlist, text, allowed):
    """It is matched with the key as configured: IFNAME is not replaced."""
    allowlist(text)
    outcome = tuned.try_add(sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})
    status = cni.status(host, tuned.config(sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"}))
    if allowed:
        outcome.expect_ok()
        status.expect_ok()
    else:
        outcome.expect_error(7, "arp_filter", "not allowed")
        status.expect_error(50, "arp_filter")
    assert tuned.container.sysctl("net/ipv4/conf/eth0/arp_filter") == ("1" if allowed else "0")


def test_the_allowlist_does_not_concern_other_keys_nor_del(tuned, allowlist):
    tuned.add(sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})
    allowlist("^nothing$")
    tuned.check().expect_ok()
    tuned.delete().expect_ok()
    tuned.result = None
    tuned.add(mtu=1400)


@pytest.mark.parametrize("pattern", ["(", "(a)\\1", "(?i)net", "((a{100}){100}){100}", "a" * 5000])
def test_a_pattern_that_cannot_be_read_permits_nothing(tuned, allowlist, pattern):
    allowlist(pattern + "\n.*\n")
    tuned.try_add(sysctl={"net.core.somaxconn": "1"}).expect_error(7, "allowlist.conf")


# --- more than one, and the reference's -----------------------------------------------------------

def test_two_tunings_in_one_list_add_up(tuned):
    tuned.add(mtu=1400)
    tuned.add(mtu=1300, txQLen=77, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})
    assert tuned.backup() == {"mtu": 1500, "txQLen": 1000}
    tuned.delete().expect_ok()
    assert (tuned.link()["mtu"], tuned.link()["txqlen"]) == (1500, 1000)
    assert tuned.container.sysctl("net/ipv4/conf/eth0/arp_filter") == "0"


@pytest.mark.parametrize("adder, remover", [(OURS, REFERENCE), (REFERENCE, OURS)], ids=["the reference removes", "the reference added"])
def test_the_backup_file_is_the_references(host, container, tmp_path, adder, remover):
    tuned = Tuned(host, container, tmp_path, "1.0.0")
    tuned.add(adder, mac=MAC, mtu=1400, promisc=True, allmulti=True)  # Debian's has no txQLen
    tuned.delete(remover).expect_ok()
    now = tuned.link()
    assert [seen(now) for *_, seen in ATTRIBUTES] == [seen(tuned.original) for *_, seen in ATTRIBUTES]
    assert tuned.backup() is None


def test_promiscuous_mode_is_switched_off_as_well(tuned):
    tuned.container.ip("link", "set", "eth0", "promisc", "on")
    tuned.add(promisc=False)
    assert "PROMISC" not in tuned.link()["flags"]
    tuned.delete().expect_ok()
    assert "PROMISC" in tuned.link()["flags"]


def test_packets_flow_with_another_mac(tuned):
    tuned.add(mac=MAC, mtu=1400)
    assert traffic.ping(tuned.container, tuned.base.result["ips"][0]["gateway"])
    assert not traffic.ping(tuned.container, tuned.base.result["ips"][0]["gateway"], size=1400, wait=1)


# --- CHECK, DEL, GC -------------------------------------------------------------------------------

FULL = dict(mac=MAC, mtu=1400, promisc=True, allmulti=True, txQLen=500, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})


@pytest.mark.parametrize("arguments, needle", [
    (["address", "c2:00:00:00:00:99"], "MAC"), (["mtu", "1300"], "MTU"), (["promisc", "off"], "promisc"),
    (["allmulticast", "off"], "allmulti"), (["txqueuelen", "5"], "txQLen")])
def test_check_notices(tuned, arguments, needle):
    tuned.add(**FULL)
    tuned.check().expect_ok()
    tuned.container.ip("link", "set", "eth0", *arguments)
    tuned.check().expect_error(100, needle)


def test_check_notices_another_sysctl_and_a_missing_interface(tuned):
    tuned.add(**FULL)
    tuned.container.sysctl("net/ipv4/conf/eth0/arp_filter", 0)
    tuned.check().expect_error(100, "arp_filter")
    tuned.container.ip("link", "del", "eth0")
    tuned.check().expect_error(100, "eth0")


def test_check_compares_only_what_is_configured(tuned):
    """The reference fails when somebody else made the interface promiscuous."""
    tuned.add(mtu=1400)
    tuned.container.ip("link", "set", "eth0", "promisc", "on", "txqueuelen", "7")
    tuned.check().expect_ok()


@pytest.mark.parametrize("how", ["no netns", "an empty netns", "a dangling netns", "the interface gone", "the namespace gone"])
def test_del_without(tuned, spaces, how):
    tuned.add(**FULL)
    changes = {}
    if how == "the interface gone":
        tuned.container.ip("link", "del", "eth0")
    elif how == "the namespace gone":
        spaces.drop(tuned.container)
    else:
        changes = {"netns": {"no netns": None, "an empty netns": "", "a dangling netns": "/run/netns/none"}[how]}
    tuned.delete(**changes).expect_ok()
    assert tuned.backup() is None and records() == []
    assert not os.path.exists("/run/netns/none")
    tuned.delete(**changes).expect_ok()


def test_del_without_netns_restores_what_lives_on(tuned):
    tuned.add(**FULL)
    tuned.delete(netns=None).expect_ok()
    assert tuned.link()["mtu"] == 1500


def test_del_of_another_configuration_restores_all_the_same(tuned, tmp_path):
    tuned.add(**FULL, dataDir=str(tmp_path / "elsewhere"))
    tuned.run("DEL", tuned.config(mtu="nonsense", sysctl=7)).expect_ok()
    assert tuned.link()["mtu"] == 1500
    assert tuned.backup(str(tmp_path / "elsewhere")) is None and records() == []


def test_gc_restores_what_is_stale_only(tuned, host, spaces, tmp_path):
    other = Tuned(host, spaces.new("c"), tmp_path)
    for one in (tuned, other):
        one.add(**FULL)
    cni.gc(host, tuned.config(), None).expect_ok()
    assert len(records()) == 2
    cni.gc(host, tuned.config(), [other.base]).expect_ok()
    assert tuned.link()["mtu"] == 1500 and tuned.backup() is None
    other.check().expect_ok()
    assert len(records()) == 1


def test_a_damaged_backup_is_removed(tuned):
    tuned.add(mtu=1400)
    with open(f"/run/cni/tuning/{tuned.base.cid}_eth0.json", "w") as f:
        f.write("{\"mtu\": ")
    tuned.delete().expect_ok()
    assert tuned.backup() is None


@pytest.mark.parametrize("keys, needle", [
    ({"mac": "nonsense"}, "mac"), ({"mac": "01:00:00:00:00:01"}, "unicast"), ({"mtu": -1}, "mtu"), ({"mtu": "big"}, "mtu"),
    ({"promisc": 1}, "promisc"), ({"allmulti": "yes"}, "allmulti"), ({"txQLen": -1}, "txQLen"), ({"sysctl": ["a"]}, "sysctl"),
    ({"sysctl": {"net.core.somaxconn": 5}}, "somaxconn"), ({"dataDir": "relative"}, "dataDir"),
    ({"args": {"cni": {"mtu": []}}}, "args.cni.mtu"), ({"runtimeConfig": {"mac": "x"}}, "runtimeConfig.mac")])
def test_bad_values_are_refused_by_name(tuned, keys, needle):
    before = snapshot.settled(tuned.container)
    tuned.try_add(**{"mtu": 1300, **keys}).expect_error(7, needle)
    assert snapshot.settled(tuned.container) == before
