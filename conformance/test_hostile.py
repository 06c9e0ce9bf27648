"""Hostile input: a clear error with the right code, and nothing changed, nothing lost."""
import fcntl
import json
import os
import subprocess
import threading
import time

import pytest

from conftest import reservations
from lib import cni, configs, netns, snapshot
from lib.cni import OURS, Attachment, execute

pytestmark = pytest.mark.netns

IO, DECODE, CONFIG, ENVIRONMENT, NETNS, TRY_AGAIN, VERSION = 5, 6, 7, 4, 8, 11, 1


class Arena:
    """A working attachment, the victim, and an empty container that the hostile calls are aimed at."""

    def __init__(self, folder):
        self.folder, self.spaces, self.builds = folder, netns.Namespaces(), 0
        self.build()

    def build(self):
        self.spaces.close()
        self.builds += 1
        self.data = self.folder / f"data{self.builds}"
        self.host, self.container, self.other = (self.spaces.new(n) for n in ("host", "c", "victim"))
        self.victim = Attachment(self.host, configs.bridge(self.data, ipMasq=True), self.container)
        self.victim.add()
        self.before = self._settled(), snapshot.files(self.data)

    def _settled(self):
        return snapshot.settled_all([self.host, self.container, self.other])

    def verify(self):
        """Host, victim, empty container and data directory are as they were; if not, begin anew for the next test."""
        kernels = [snapshot.kernel(ns) for ns in (self.host, self.container, self.other)]
        if kernels != self.before[0]:
            kernels = self._settled()
        found = [d for old, new in zip(self.before[0], kernels) for d in snapshot.difference(old, new, "before", "after")]
        files = snapshot.difference(self.before[1], snapshot.files(self.data), "before", "after")
        checked = self.victim.check()
        if found or files or not checked.ok:
            self.build()
        assert found == [] and files == []
        checked.expect_ok()


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    made = Arena(tmp_path_factory.mktemp("arena"))
    yield made
    made.spaces.close()


@pytest.fixture
def victim(arena):
    yield arena.victim
    arena.verify()


@pytest.fixture
def call(arena, victim):
    """Run a verb against the empty container of the arena."""
    def run(config, verb="ADD", plugin="bridge", **given):
        given = {"cid": "hostile", "netns": arena.other.path, "ifname": "eth0", **given}
        return execute(arena.host, OURS, plugin, verb, config, **given)
    return run


# --- standard input -----------------------------------------------------------------------------

def test_a_config_cut_at_every_byte(victim, call):
    text = json.dumps(victim.config)
    for length in range(len(text)):
        outcome = call(text[:length]).expect_error((DECODE, CONFIG))
        assert outcome.json["code"] == DECODE or length == 0, f"cut at {length}: {outcome}"


def test_a_prev_result_cut_at_every_byte(victim, call):
    """Inside the object the rest stays valid: prevResult as a string of broken JSON, and as half an object."""
    result = json.dumps(victim.result)
    for length in range(0, len(result), 3):
        text = json.dumps(victim.config)[:-1] + ', "prevResult": ' + result[:length]
        call(text, "CHECK").expect_error(DECODE)
        call(text, "DEL").expect_error(DECODE)


def broken_documents():
    good = json.dumps(configs.l2_bridge("1.0.0"))
    return {
        "empty": b"", "blanks": b"  \n ", "null": b"null", "true": b"true", "number": b"42", "string": b'"bridge"',
        "array": b"[" + good.encode() + b"]", "two documents": (good + good).encode(), "trailing comma": (good[:-1] + ",}").encode(),
        "single quotes": good.replace('"', "'").encode(), "comment": ("/* a */" + good).encode(),
        "UTF-16 LE": good.encode("utf-16"), "UTF-16 BE": b"\xfe\xff" + good.encode("utf-16-be"), "UTF-32": good.encode("utf-32"),
        "NUL inside": good.replace("flat", "fl\0at").encode(), "NUL at the end": good.encode() + b"\0", "only NULs": b"\0" * 4096,
        "escaped NUL in the name": good.replace("flat", "fl\\u0000at").encode(),
        "invalid UTF-8": good.replace("flat", "fl\udcffat").encode("utf-8", "surrogateescape"),
        "lone surrogate": good.replace('"flat"', '"flat", "x": "\\ud800"').encode(),
        "a huge number": good.replace('"flat"', '"flat", "mtu": 1e999').encode(),
        "a long number": good.replace('"flat"', '"flat", "mtu": ' + "9" * 5000).encode(),
        "NaN": good.replace('"flat"', '"flat", "mtu": NaN').encode(),
        "100,000 open arrays": b"[" * 100_000, "100,000 open objects": b'{"a":' * 100_000,
        "deep and closed": (good[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}").encode(),
        "deep prevResult": (good[:-1] + ', "prevResult": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}").encode(),
        "10 MB of blanks": b" " * 10_000_000, "10 MB string unclosed": b'{"name": "' + b"a" * 10_000_000,
        "binary": bytes(range(256)) * 64,
    }


@pytest.mark.parametrize("what", broken_documents())
def test_a_document_that_is_not_a_config(what, victim, call):
    for verb in ("ADD", "DEL"):
        outcome = call(broken_documents()[what], verb, timeout=20)
        outcome.expect_error((DECODE, CONFIG, IO))
        assert len(outcome.stdout) < 20_000
        assert outcome.seconds < 5


def test_a_byte_order_mark_is_refused_or_skipped(call):
    """RFC 8259 lets a parser do either; it must not half-apply."""
    outcome = call(b"\xef\xbb\xbf" + json.dumps(configs.l2_bridge("9.9.9")).encode())
    outcome.expect_error((DECODE, VERSION))


def test_a_config_of_10_mb_is_valid_or_refused_but_never_fatal(victim, call):
    """Valid JSON with 10 MB of someone else's key: today's answer may be either, in bounded time and memory."""
    config = {**victim.config, "isGateway": "not a bool", "comment": "x" * 10_000_000}
    outcome = call(config, timeout=20).expect_error((DECODE, CONFIG, IO))
    assert outcome.seconds < 5 and len(outcome.stdout) < 20_000


@pytest.mark.parametrize("name", [None, "", "..", ".", "a/b", "../../etc", "a b", "a\nb", "-flag", ".hidden", "ä", "a" * 300 + "/", 7, ["x"], {"a": 1}])
@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_bad_network_names(name, verb, victim, call):
    config = {**victim.config, "name": name, "cni.dev/valid-attachments": []}
    call(config, verb).expect_error((DECODE, CONFIG))


def test_a_missing_network_name(victim, call):
    config = dict(victim.config)
    del config["name"]
    call(config).expect_error(CONFIG, "name")


def test_a_network_name_of_300_bytes_is_refused_whole(call, tmp_path):
    """The specification sets no limit, the file system does: 255 bytes for one name."""
    config = configs.bridge(tmp_path / "data", name="n" * 300)
    call(config).expect_error((CONFIG, IO))
    assert not (tmp_path / "data").exists() or os.listdir(tmp_path / "data") == []


WRONG = ["text", 3, 3.5, True, [], {}, [[]], {"a": {"b": []}}, -1, 10**30]
KNOWN = {"bridge": str, "isGateway": bool, "isDefaultGateway": bool, "forceAddress": bool, "ipMasq": bool, "ipMasqBackend": str,
         "mtu": int, "hairpinMode": bool, "promiscMode": bool, "vlan": int, "vlanTrunk": list, "preserveDefaultVlan": bool,
         "macspoofchk": bool, "enabledad": bool, "disableContainerInterface": bool, "portIsolation": bool, "ipam": dict, "dns": dict,
         "args": dict, "runtimeConfig": dict, "prevResult": dict, "cniVersion": str, "type": str}


def is_wrong(kind, value):
    if kind is int:
        return not (isinstance(value, int) and not isinstance(value, bool)) or value == 10**30
    return type(value) is not kind


@pytest.mark.parametrize("key", KNOWN)
def test_every_key_with_every_wrong_type(key, victim, call):
    for value in WRONG:
        if is_wrong(KNOWN[key], value) and not (key == "vlanTrunk" and value == []):
            outcome = call({**victim.config, key: value}).expect_error((DECODE, CONFIG, VERSION, ENVIRONMENT))
            assert key.lower() in outcome.words.lower(), f"{key}={value!r}: {outcome}"


NESTED = {"ipam.type": str, "ipam.ranges": list, "ipam.routes": list, "ipam.dataDir": str, "ipam.resolvConf": str, "ipam.subnet": str,
          "ipam.rangeStart": str, "ipam.rangeEnd": str, "ipam.gateway": str, "dns.nameservers": list, "dns.domain": str, "dns.search": list,
          "dns.options": list, "runtimeConfig.mac": str, "runtimeConfig.ips": list, "runtimeConfig.ipRanges": list}


@pytest.mark.parametrize("key", NESTED)
def test_every_nested_key_with_every_wrong_type(key, victim, call):
    outer, inner = key.split(".")
    for value in WRONG:
        if type(value) is not NESTED[key]:
            config = {**victim.config, outer: {**victim.config.get(outer, {}), inner: value}}
            outcome = call(config).expect_error((DECODE, CONFIG))
            assert inner.lower() in outcome.words.lower(), f"{key}={value!r}: {outcome}"


@pytest.mark.parametrize("ranges", [
    [[]], [[{}]], [[{"subnet": "10.20.0.0"}]], [[{"subnet": "10.20.0.0/33"}]], [[{"subnet": "10.20.0.0/-1"}]], [[{"subnet": "hello/24"}]],
    [[{"subnet": "10.20.0.0/24", "rangeStart": "10.99.0.1"}]], [[{"subnet": "10.20.0.0/24", "rangeEnd": "10.99.0.1"}]],
    [[{"subnet": "10.20.0.0/24", "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.3"}]], [[{"subnet": "10.20.0.0/24", "gateway": "x"}]],
    [[{"subnet": "10.20.0.0/31"}]], [[{"subnet": "10.20.0.1/24"}]], [[{"subnet": "fd00::/127"}]], [[{"subnet": "fd00::/129"}]],
    [[{"subnet": "10.20.0.0/24"}, {"subnet": "10.20.0.0/25"}]], [[{"subnet": "10.20.0.0/24"}], [{"subnet": "10.20.0.0/25"}]],
    [[{"subnet": "10.20.0.0/24"}, {"subnet": "fd00::/64"}]], [[{"subnet": "010.020.000.000/24"}]], [[{"subnet": "10.20/16"}]], [[7]], ["x"], [None]],
    ids=lambda r: json.dumps(r)[:60])
def test_bad_ranges(ranges, victim, call):
    config = {**victim.config, "name": "other", "ipam": {**victim.config["ipam"], "ranges": ranges}}
    call(config).expect_error((DECODE, CONFIG))


@pytest.mark.parametrize("route", [{}, {"dst": "x"}, {"dst": "10.0.0.0"}, {"dst": "10.0.0.0/40"}, {"dst": "10.0.0.0/8", "gw": "y"},
                                   {"dst": "10.0.0.0/8", "gw": "fd00::1"}, {"dst": "10.0.0.0/8", "mtu": -1}, {"dst": "10.0.0.0/8", "table": 2**40},
                                   {"dst": "10.0.0.0/8", "scope": 300}, 5, None, "10.0.0.0/8"], ids=json.dumps)
def test_bad_routes(route, victim, call):
    config = {**victim.config, "ipam": {"type": "static", "addresses": [{"address": "10.20.0.200/24", "gateway": "10.20.0.1"}], "routes": [route]}}
    call(config).expect_error()


@pytest.mark.parametrize("address", ["", "x", "10.0.0.1", "10.0.0.1/33", "10.0.0.256/24", "fd00::g/64", "fd00::1/129", "10.0.0.1/24 ", "::ffff:10.0.0.1/999", 5, None, {}])
def test_bad_static_addresses(address, victim, call):
    config = {**victim.config, "ipam": {"type": "static", "addresses": [{"address": address}]}}
    call(config).expect_error((DECODE, CONFIG))


@pytest.mark.parametrize("previous", [
    {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24", "interface": 99}]}, {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24", "interface": -5}]},
    {"cniVersion": "1.0.0", "ips": "x"}, {"cniVersion": "1.0.0", "interfaces": [None]}, {"cniVersion": "1.0.0", "ips": [{"address": 5}]},
    {"cniVersion": "1.0.0", "routes": [{"dst": "nonsense"}]}, {"cniVersion": "8.8.8"}, {"cniVersion": 5}, []], ids=json.dumps)
def test_hostile_prev_results(previous, victim, call):
    config = {**victim.config, "cniVersion": "1.0.0", "prevResult": previous}
    call(config, "CHECK").expect_error()
    outcome = call(config, "DEL")  # DEL of something never added: nothing to remove, or a clear refusal
    if not outcome.ok:
        outcome.expect_error((DECODE, CONFIG, VERSION))


# --- network namespace --------------------------------------------------------------------------

def hostile_netns(tmp_path):
    regular, folder = tmp_path / "regular", tmp_path / "folder"
    regular.write_text("I am a file")
    folder.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    return {"regular": str(regular), "folder": str(folder), "fifo": str(fifo), "loop": str(loop), "dangling": str(tmp_path / "nothing"),
            "under a file": str(regular / "x"), "another namespace": "/proc/self/ns/uts", "device": "/dev/null", "long": "/" + "x" * 5000,
            "relative": "run/netns/x", "traversal": "/run/netns/../../etc/passwd"}


NETNS_KINDS = ["regular", "folder", "fifo", "loop", "dangling", "under a file", "another namespace", "device", "long", "relative", "traversal"]


@pytest.mark.parametrize("what", NETNS_KINDS)
@pytest.mark.parametrize("plugin", ["bridge", "ptp", "loopback"])
def test_add_into_something_that_is_no_network_namespace(what, plugin, host, tmp_path):
    path = hostile_netns(tmp_path)[what]
    config = {"bridge": configs.bridge(tmp_path / "data"), "ptp": configs.ptp(tmp_path / "data"), "loopback": configs.loopback()}[plugin]
    files = sorted(os.listdir(tmp_path))
    for verb in ("ADD", "CHECK"):
        given = {**config, "prevResult": {"cniVersion": config["cniVersion"], "interfaces": [], "ips": []}} if verb == "CHECK" else config
        outcome = execute(host, OURS, plugin, verb, given, "c1", path, "lo" if plugin == "loopback" else "eth0", timeout=10)
        outcome.expect_error((ENVIRONMENT, IO, NETNS, CONFIG) if verb == "ADD" else None)
        assert verb == "CHECK" or path[:100] in outcome.words
    assert host.links() == [] and reservations(tmp_path / "data", config["name"]) == {}
    assert [f for f in sorted(os.listdir(tmp_path)) if f != "data"] == files
    assert (tmp_path / "regular").read_text() == "I am a file"


@pytest.mark.parametrize("what", NETNS_KINDS)
@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_del_cleans_the_host_whatever_netns_says(what, plugin, host, container, tmp_path):
    make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
    attachment = Attachment(host, make(tmp_path / "data", ipMasq=True), container)
    attachment.add()
    path = hostile_netns(tmp_path)[what]
    attachment.delete(with_result=False, netns=path, timeout=10).expect_ok()
    assert host.links() in ([], ["cni0"]) and reservations(tmp_path / "data", attachment.config["name"]) == {}
    assert not os.path.lexists(tmp_path / "nothing"), "DEL created a file at the netns path"


# --- environment --------------------------------------------------------------------------------

@pytest.mark.parametrize("cid", ["", "/", "..", "../../etc/passwd", "a/b", "a b", ".hidden", "-flag", "_x", "a\nb", "a;b", "ü", "a:b", "a\\b"])
@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_bad_container_ids(cid, verb, victim, call):
    call(victim.config, verb, cid=cid).expect_error(ENVIRONMENT, "CNI_CONTAINERID")


@pytest.mark.parametrize("ifname", ["", "/", ".", "..", "a/b", "eth 0", "a:b", "sixteen-letters-", "x" * 300, "a\tb", "a\u00a0b", "eth0\n", "a\u2003b"])
@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_bad_interface_names(ifname, verb, victim, call):
    call(victim.config, verb, ifname=ifname).expect_error(ENVIRONMENT, "CNI_IFNAME")


@pytest.mark.parametrize("size", [300, 4000])
def test_a_long_container_id_works(size, host, container, tmp_path):
    """The specification sets no limit on its length; names and comments that hold it must."""
    cid = "c" * size
    attachment = Attachment(host, configs.bridge(tmp_path, ipMasq=True, macspoofchk=True), container, cid=cid)
    twin = Attachment(host, attachment.config, container, cid=cid + "x", ifname="net1")
    attachment.add()
    attachment.check().expect_ok()
    assert reservations(tmp_path, "blue") == {"10.20.0.2": f"{cid}\r\neth0".encode()}
    twin.config = {**twin.config, "ipam": {**twin.config["ipam"], "routes": []}}
    twin.add()  # differs only beyond any cut-off
    attachment.delete(with_result=False).expect_ok()
    twin.check().expect_ok()
    twin.delete(with_result=False).expect_ok()
    assert host.links() == ["cni0"] and reservations(tmp_path, "blue") == {}


@pytest.mark.parametrize("ifname", ["fifteen-letters", "ä", "eth0.5", "a@b", "-x", "$(id)", "'"])
def test_odd_but_legal_interface_names(ifname, host, container, tmp_path):
    attachment = Attachment(host, configs.bridge(tmp_path), container, ifname=ifname)
    attachment.add()
    assert container.links() == [ifname]
    attachment.delete(with_result=False).expect_ok()
    assert container.links() == [] and reservations(tmp_path, "blue") == {}


@pytest.mark.parametrize("ifname", ["eth%d", "%s%n", "%"])
def test_a_name_that_the_kernel_would_take_for_a_pattern(ifname, host, container, tmp_path):
    """eth%d asks the kernel for any free name: the runtime would look for an interface that is not there."""
    attachment = Attachment(host, configs.bridge(tmp_path), container, ifname=ifname)
    attachment.run("ADD").expect_error(None, ifname)
    assert container.links() == [] and host.links() in ([], ["cni0"]) and reservations(tmp_path, "blue") == {}


@pytest.mark.parametrize("bridge", [".", "..", "a/b", "x" * 16, "x" * 300, "a b", "all", "default"])
def test_bad_bridge_names(bridge, victim, call):
    """"all" and "default" would be folders of every interface's settings in /proc/sys."""
    call({**victim.config, "name": "other", "bridge": bridge}).expect_error((DECODE, CONFIG))


# --- files of host-local ------------------------------------------------------------------------

def pool(tmp_path, **keys):
    return configs.ipam_only(tmp_path, subnets=("10.40.0.0/29",), **keys)


def hostile_reservation(folder, kind):
    target = folder / "10.40.0.2"
    if kind == "empty":
        target.touch()
    elif kind == "garbage":
        target.write_bytes(bytes(range(256)) * 40)
    elif kind == "huge":
        target.write_bytes(b"x" * 5_000_000)
    elif kind == "no newline":
        target.write_text("somebody")
    elif kind == "only newline":
        target.write_text("\r\n")
    elif kind == "folder":
        target.mkdir()
    elif kind == "dangling link":
        target.symlink_to("/nowhere/at/all")
    elif kind == "link":
        (folder.parent / "elsewhere").write_text("precious")
        target.symlink_to(folder.parent / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(target)
    return target


KINDS = ["empty", "garbage", "huge", "no newline", "only newline", "folder", "dangling link", "link", "fifo"]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_reservation_files_do_not_stop_anyone(kind, host, container, tmp_path):
    """The address is skipped (an empty file, the trace of a crash, counts as free), the others are served."""
    folder = tmp_path / "pool"
    folder.mkdir()
    hostile_reservation(folder, kind)
    made = [Attachment(host, pool(tmp_path), container) for _ in range(3)]
    for attachment in made:
        attachment.add(timeout=10)
    given = [a.addresses[0] for a in made]
    if kind != "only newline":  # blank may count as either
        assert ("10.40.0.2" in given) == (kind == "empty")
    cni.status(host, pool(tmp_path)).expect_ok()
    for attachment in made:
        attachment.check(timeout=10).expect_ok()
        attachment.delete(timeout=10).expect_ok()
    if kind == "link":
        assert (tmp_path / "elsewhere").read_text() == "precious"
    assert sorted(reservations(tmp_path, "pool")) == ([] if "10.40.0.2" in given else ["10.40.0.2"])


@pytest.mark.parametrize("name,content", [("last_reserved_ip.0", b""), ("last_reserved_ip.0", b"garbage"), ("last_reserved_ip.0", b"10.99.0.1"),
                                          ("last_reserved_ip.0", b"\xff" * 4096), ("last_reserved_ip.0", b"fd00::1"), ("10.40.0.999", b"x"),
                                          ("README", b"hello"), ("10.40.0.3.tmp", b"c1\r\neth0"), ("last_reserved_ip.zzz", b"1"), (".hidden", b"")])
def test_odd_files_beside_the_reservations(name, content, host, container, tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / name).write_bytes(content)
    attachment = Attachment(host, pool(tmp_path), container)
    attachment.add()
    assert attachment.addresses[0].startswith("10.40.0.")
    attachment.delete().expect_ok()
    if not name.startswith("last_reserved_ip.0"):
        assert (folder / name).read_bytes() == content
    if not cni.IS_REFERENCE:
        cni.gc(host, pool(tmp_path), []).expect_ok()
    assert (folder / name).exists()


@pytest.mark.parametrize("kind", ["file", "dangling link", "loop", "read-only parent is a file"])
def test_a_data_dir_that_is_none(kind, host, container, tmp_path):
    target = tmp_path / "data"
    if kind == "file":
        target.write_text("precious")
    elif kind == "dangling link":
        target.symlink_to("/proc/nowhere")
    elif kind == "loop":
        target.symlink_to(target)
    else:
        (tmp_path / "f").touch()
        target = tmp_path / "f" / "data"
    Attachment(host, configs.ipam_only(target), container).run("ADD").expect_error((IO, CONFIG), str(target))
    Attachment(host, configs.bridge(target), container).run("ADD").expect_error((IO, CONFIG), str(target))
    assert container.links() == [] and host.links() in ([], ["cni0"])
    if kind == "file":
        assert target.read_text() == "precious"


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
def test_a_lock_that_is_none(kind, host, container, tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    if kind == "folder":
        (folder / "lock").mkdir()
    elif kind == "link":
        (folder / "lock").symlink_to("/nowhere/lock")
    else:
        os.mkfifo(folder / "lock")
    outcome = Attachment(host, pool(tmp_path), container).run("ADD", timeout=30)
    if not outcome.ok:
        outcome.expect_error((IO, CONFIG, TRY_AGAIN), "lock")
        assert reservations(tmp_path, "pool") == {}


def test_traversal_by_the_network_name(host, container, tmp_path):
    for name in ("..", "../outside", "a/../../outside", "/etc"):
        config = configs.ipam_only(tmp_path / "data", name=name)
        Attachment(host, config, container).run("ADD").expect_error(CONFIG)
    assert not (tmp_path / "outside").exists() and not (tmp_path / "10.40.0.2").exists()


def test_a_lock_held_by_someone_else_is_waited_for_and_then_reported(host, container, tmp_path):
    attachment = Attachment(host, pool(tmp_path), container)
    attachment.add()
    attachment.delete().expect_ok()
    with open(tmp_path / "pool" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        attachment.run("ADD", timeout=45).expect_error(TRY_AGAIN, "lock")
        waited = time.monotonic() - began
        assert 0.5 < waited < 40
    assert reservations(tmp_path, "pool") == {}
    attachment.add()


def test_a_lock_held_for_a_moment_delays_only(host, container, tmp_path):
    attachment = Attachment(host, pool(tmp_path), container)
    attachment.add()
    attachment.delete().expect_ok()
    lock = open(tmp_path / "pool" / "lock")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.4, lock.close).start()
    outcome = attachment.run("ADD").expect_ok()
    assert 0.2 < outcome.seconds < 3


def test_a_full_disk_changes_nothing(host, container, tmp_path):
    """The data directory is on a file system without a free block or inode."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=4", "tmpfs", str(disk)], check=True)
    try:
        (disk / "filler").write_bytes(b"x" * 4096)
        attachment = Attachment(host, configs.bridge(disk), container)
        served = attachment.try_add()
        if not served.ok:
            served.expect_error((IO, TRY_AGAIN))
            assert container.links() == [] and host.links() in ([], ["cni0"])
            assert reservations(disk, "blue") == {}
        attachment.delete(with_result=False).expect_ok()
        assert reservations(disk, "blue") == {}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_closed_standard_streams(host, container, tmp_path):
    """Started by a careless parent: no stdin, or an stdout that nobody reads."""
    env = cni.environment("ADD", OURS, "c1", container.path, "eth0")
    with host.enter():
        done = subprocess.run(["/bin/sh", "-c", 'exec "$0" <&-', OURS.find("bridge")], env=env, capture_output=True, timeout=10)
    assert done.returncode == 1 and json.loads(done.stdout)["code"] in (IO, DECODE)
    assert host.links() == []
    config = tmp_path / "config"
    config.write_text(json.dumps(configs.bridge(tmp_path / "data")))
    with host.enter():
        done = subprocess.run(["/bin/sh", "-c", f'exec "$0" < {config} >&-', OURS.find("bridge")], env=env, capture_output=True, timeout=10)
    if done.returncode != 0:  # nobody can have received a result: an ADD that reports failure leaves nothing
        assert container.links() == [] and reservations(tmp_path / "data", "blue") == {}


@pytest.mark.parametrize("valid", [None, "x", 5, {}, [None], ["x"], [{}], [{"containerID": 5, "ifname": "eth0"}], [{"containerID": "../x", "ifname": "eth0"}],
                                   [{"containerID": "a"}], [[]]], ids=json.dumps)
def test_a_hostile_list_of_valid_attachments_deletes_nothing(valid, arena, victim):
    """A list that cannot be understood must not be taken for an empty one."""
    config = {**victim.config, "cni.dev/valid-attachments": valid}
    outcome = execute(arena.host, OURS, "bridge", "GC", config)
    if valid is not None:
        outcome.expect_error((DECODE, CONFIG))
