"""kill -9 at every system call of ADD and of DEL; then DEL, or GC, leaves nothing. Of every plugin: test_matrix.py; here
the bridge that the plugin makes itself, processes that die alone, neighbours, and reboots.

tools/killat counts the system calls of the plugin (and of what it forks) and kills it before the
Nth. N runs from 1 until the plugin ends by itself, so every state that a crash can leave is seen.
"""
import json
import os
import threading
import time

import pytest

from lib import cni, configs, netns, nft, traffic
from lib.cni import Attachment, gc

pytestmark = pytest.mark.netns

KILLED, ENDED_WELL, ENDED_BADLY = 200, 201, 202
# For the reference plugins, whose ADD makes tens of thousands of calls; 1 for ours.
STRIDE = int(os.environ.get("CULVERT_CRASH_STRIDE", "1"))
BUDGET_SECONDS = 120
WORKERS = 5  # deletions mostly wait; odd, so that each thread sees DEL with and without prevResult


def bridge(data_dir):
    return configs.bridge(data_dir, name="crash", subnets=("10.20.0.0/24", "fd20::/64"), routes=("0.0.0.0/0", "::/0"),
                          ipMasq=True, macspoofchk=True)


def ptp(data_dir):
    return configs.ptp(data_dir, name="crash", ipMasq=True)


def ipam(data_dir):
    return configs.ipam_only(data_dir, name="crash", subnets=("10.40.0.0/24", "fd40::/64"))


KINDS = {"bridge": bridge, "ptp": ptp}


class Crashing:
    """One host and container used for a whole series, in a thread with mounts of its own."""

    def __init__(self, kind, tools, folder):
        self.spaces = netns.Namespaces()
        self.host, self.container = self.spaces.new("host"), self.spaces.new("c")
        self.tools, self.folder, self.report = tools, folder / "data", folder / "report"
        self.config = KINDS[kind](self.folder)
        self.calls = 0
        warm = self.new()  # the files that a clean life leaves: lock, last_reserved_ip, caches
        warm.add()
        warm.delete().expect_ok()
        self.run_files = tree("/run/culvert")

    def new(self):
        return Attachment(self.host, self.config, self.container)

    def killed_at(self, n, attachment, verb, config, only_one=False):
        """Run a verb and kill it at its Nth call; False once it ends by itself before that."""
        wrapper = [f"{self.tools}/killat", *(["-1"] if only_one else []), "-o", str(self.report), str(n)]
        outcome = attachment.run(verb, config, wrapper=wrapper)
        assert outcome.rc in (KILLED, ENDED_WELL), f"{verb} failed by itself: {outcome}"
        self.calls = n
        return outcome.rc == KILLED

    def left(self, resident=None):
        """Everything that is still there and should not be."""
        bridge_links = {"cni0"} if self.config["type"] == "bridge" else set()
        mine = {resident.host_veth} if resident else set()
        found = [f"link {l}" for l in self.host.links() if l not in bridge_links | mine]
        found += [f"link {l} in the container" for l in self.container.links()]
        if resident is None:
            found += [f"nft table {t}" for t in nft.tables(self.host)]
        expected = {"lock", "last_reserved_ip.0", "last_reserved_ip.1", *(resident.addresses if resident else ())}
        found += [f"file {f}" for f in tree(self.folder / "crash") - expected]
        found += [f"file /run/culvert/{f}" for f in tree("/run/culvert") - self.run_files]
        return found

    def where(self):
        return self.report.read_text().strip()


@pytest.fixture
def at_every_call(request, tools, tmp_path):
    """Runs step(crashing, N) for N = 1, 2, ... until it returns False, spread over a few threads."""
    def run(step, prepare=None):
        calls, failures = [], []

        def series(worker):
            try:
                netns.private_mounts()
                folder = tmp_path / str(worker)
                folder.mkdir()
                crashing = Crashing(request.param, tools, folder)
                try:
                    context = prepare(crashing) if prepare else None
                    n = 1 + worker * STRIDE
                    while not failures and step(crashing, n, *([context] if prepare else [])):
                        assert time.monotonic() < deadline, f"at call {n} after {BUDGET_SECONDS} s"
                        n += WORKERS * STRIDE
                    calls.append(crashing.calls)
                finally:
                    crashing.spaces.close()
            except BaseException as e:  # noqa: BLE001: shown by the main thread
                failures.append(e)
        deadline = time.monotonic() + BUDGET_SECONDS
        threads = [threading.Thread(target=series, args=(w,)) for w in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        assert min(calls) > 20 // STRIDE  # fewer would mean that the plugin did nothing
    return run


def tree(folder):
    return {os.path.relpath(os.path.join(base, n), folder) for base, _, names in os.walk(folder) for n in names}


own_bridge = pytest.mark.parametrize("at_every_call", ["bridge"], indirect=True)
needs_gc = pytest.mark.skipif(cni.IS_REFERENCE, reason="the reference has no GC")


@own_bridge
def test_add_killed_anywhere_then_del_leaves_nothing(at_every_call):
    """DEL knows no prevResult: the runtime never got a result. Now and then the same id is tried again."""
    def step(crashing, n):
        attachment = crashing.new()
        killed = crashing.killed_at(n, attachment, "ADD", attachment.config)
        attachment.delete(with_result=False).expect_ok()
        assert crashing.left() == [], f"ADD {crashing.where()}, then DEL"
        if n % 10 == 0:
            attachment.add()
            attachment.delete().expect_ok()
        return killed
    at_every_call(step)


@own_bridge
@needs_gc
def test_add_killed_anywhere_then_gc_leaves_nothing(at_every_call):
    def step(crashing, n):
        attachment = crashing.new()
        killed = crashing.killed_at(n, attachment, "ADD", attachment.config)
        gc(crashing.host, crashing.config, []).expect_ok()
        assert crashing.left() == [], f"ADD {crashing.where()}, then GC"
        return killed
    at_every_call(step)


@pytest.mark.parametrize("at_every_call", ["bridge", "ptp"], indirect=True)
@needs_gc
def test_a_neighbour_survives_every_crash_and_gc(at_every_call):
    def prepare(crashing):
        outside = crashing.spaces.new("out")
        netns.join(crashing.host, outside, "uplink", "eth0", "198.18.0.1/24", "198.18.0.2/24")
        resident = Attachment(crashing.host, crashing.config, crashing.spaces.new("resident"))
        resident.add()
        return resident, outside

    def step(crashing, n, context):
        resident, outside = context
        attachment = crashing.new()
        killed = crashing.killed_at(n, attachment, "ADD", attachment.config)
        gc(crashing.host, crashing.config, [resident]).expect_ok()
        assert [l for l in crashing.left(resident) if l != "link uplink"] == [], f"ADD {crashing.where()}, then GC"
        if not killed:
            resident.check().expect_ok()
            assert traffic.reach(resident.container, outside, "198.18.0.2") == "198.18.0.1"
            assert attachment.cid not in nft.text(crashing.host)
        return killed
    at_every_call(step, prepare)


@own_bridge
@pytest.mark.parametrize("only_one", [False, True], ids=["whole-tree", "one-process"])
def test_del_killed_anywhere_then_del_again_leaves_nothing(at_every_call, only_one):
    def step(crashing, n):
        attachment = crashing.new()
        attachment.add()
        config = attachment.with_result() if n % 2 else attachment.config
        killed = crashing.killed_at(n, attachment, "DEL", config, only_one)
        attachment.delete(with_result=False).expect_ok()
        assert crashing.left() == [], f"DEL {crashing.where()}, then DEL"
        return killed
    at_every_call(step)


@own_bridge
@needs_gc
def test_gc_killed_anywhere_then_gc_again_leaves_nothing(at_every_call):
    def step(crashing, n):
        attachment = crashing.new()
        attachment.add()
        killed = crashing.killed_at(n, attachment, "GC", {**crashing.config, "cni.dev/valid-attachments": []})
        gc(crashing.host, crashing.config, []).expect_ok()
        assert crashing.left() == [], f"GC {crashing.where()}, then GC"
        return killed
    at_every_call(step)


def test_killat_kills_where_it_says(host, tools, tmp_path):
    """The tool itself: a shell that makes three files, killed early, has made fewer."""
    made = set()
    for n in range(1, 400):
        for name in "abc":
            (tmp_path / name).unlink(missing_ok=True)
        host.run(f"{tools}/killat", "-o", str(tmp_path / "report"), str(n), "/bin/sh", "-c",
                 f"cd {tmp_path} && > a && > b && > c", check=False)
        made.add("".join(sorted(name for name in "abc" if (tmp_path / name).exists())))
        if (tmp_path / "report").read_text().startswith("ended"):
            break
    assert made == {"", "a", "ab", "abc"}


def test_nothing_is_lost_when_a_machine_stops_in_add(host, container, tools, tmp_path):
    """Crash and reboot together: links are gone with the kernel, files are as the crash left them."""
    config = ipam(tmp_path / "data")
    process_report = tmp_path / "report"
    for n in range(1, 2000, STRIDE):
        attachment = Attachment(host, config, container)
        wrapper = [f"{tools}/killat", "-o", str(process_report), str(n)]
        outcome = attachment.run("ADD", wrapper=wrapper)
        fresh = Attachment(host, config, container)
        fresh.add()
        fresh.delete().expect_ok()
        attachment.delete(with_result=False).expect_ok()
        if outcome.rc != KILLED:
            break
    assert json.loads(outcome.stdout)["ips"]
    assert tree(tmp_path / "data" / "crash") <= {"lock", "last_reserved_ip.0", "last_reserved_ip.1"}


