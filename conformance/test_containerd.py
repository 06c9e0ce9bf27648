"""containerd: ctr run --cni with our plugins in /opt/cni/bin."""
import glob
import json
import os
import subprocess

import pytest

from lib import cni, configs, netns, nft, runtimes, traffic
from lib.cni import OURS, REFERENCE, Attachment

pytestmark = pytest.mark.runtime

NETWORK = "ctrnet"
FOLDERS = {"ours": OURS, "reference": REFERENCE}


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    return runtimes.make_rootfs(str(tmp_path_factory.mktemp("ctr") / "rootfs"))


@pytest.fixture(params=FOLDERS)
def which(request):
    return request.param


def network(**keys):
    return configs.bridge("/var/lib/cni/networks", "1.0.0", name=NETWORK, ipMasq=True, **keys)


@pytest.fixture
def containerd(which, host, rootfs, tmp_path):
    """ctr has its folders built in: they are mounted over, in this process's private mount namespace."""
    for folder in ("/opt", "/etc/cni"):
        netns.mount_tmpfs(folder)
    os.makedirs("/opt/cni")
    os.symlink(FOLDERS[which].folders[0], "/opt/cni/bin")
    os.makedirs("/etc/cni/net.d")
    entry = {k: v for k, v in network().items() if k not in ("name", "cniVersion")}
    with open("/etc/cni/net.d/10-culvert.conflist", "w") as f:
        json.dump({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [entry]}, f)
    made = runtimes.Containerd(host, tmp_path / "containerd", rootfs)
    yield made
    made.close()
    for folder in ("/opt", "/etc/cni"):
        subprocess.run(["umount", "-l", folder], check=True)


def stored():
    return sorted(os.path.basename(f) for f in glob.glob(f"/var/lib/cni/networks/{NETWORK}/[0-9a-f]*"))


def test_containers_meet_reach_outside_and_leave_no_trace(which, containerd, host, outside):
    """In the foreground ctr calls DEL when the process has ended, with a netns path that no longer exists."""
    before = stored()
    processes = [containerd.run_in_foreground(name) for name in "ab"]
    addresses = {n: [w.split("/")[0] for w in containerd.exec(n, "/bin/ip", "addr").split() if w.startswith("10.20.0.") and "/24" in w][0]
                 for n in "ab"}
    assert len(set(addresses.values())) == 2
    assert "1 packets received" in containerd.exec("a", "/bin/ping", "-c", "1", addresses["b"])
    with traffic.listener(outside, "198.18.0.2") as server:
        client = containerd.start("task", "exec", "--exec-id", "out", "a", "/bin/sh", "-c", "echo hello | /bin/nc 198.18.0.2 8080")
        peer, seen = server.accept()
        with peer:
            assert peer.recv(5) == b"hello"
        client.wait(20)
        assert seen[0] == "198.18.0.1"
    for name, process in zip("ab", processes):
        containerd("task", "kill", "-s", "SIGKILL", name)
        process.wait(20)
    assert stored() == before
    assert host.links() == ["cni0", "uplink"]
    if which == "ours" and not cni.IS_REFERENCE:
        assert nft.tables(host) == []


def test_gc_collects_what_a_detached_ctr_forgets(which, containerd, host, outside):
    """ctr run -d never calls DEL: address and masquerade stay behind. The reference has no remedy, our GC has."""
    if which == "reference" or cni.IS_REFERENCE:
        pytest.skip("the reference plugins have no GC")
    containerd("run", "-d", "--cni", "--rootfs", containerd.rootfs, "kept", "/bin/sleep", "1000")
    containerd("run", "-d", "--cni", "--rootfs", containerd.rootfs, "lost", "/bin/sleep", "1000")
    assert len(stored()) == 2
    containerd("task", "rm", "-f", "lost")
    containerd("container", "rm", "lost")
    assert len(stored()) == 2
    config = {**network(), "cniVersion": "1.1.0"}
    kept = Attachment(host, config, cid=reserved_id("kept"))
    cni.gc(host, config, [kept]).expect_ok()
    assert len(stored()) == 1
    with traffic.listener(outside, "198.18.0.2") as server:
        client = containerd.start("task", "exec", "--exec-id", "out", "kept", "/bin/sh", "-c", "echo hello | /bin/nc 198.18.0.2 8080")
        peer, seen = server.accept()
        with peer:
            assert seen[0] == "198.18.0.1"
        client.wait(20)
    containerd("task", "rm", "-f", "kept")
    containerd("container", "rm", "kept")
    cni.gc(host, config, []).expect_ok()
    assert stored() == [] and nft.tables(host) == [] and host.links() == ["uplink"]


def reserved_id(name):
    """The id under which ctr attached a container: <namespace>-<name> or alike, as host-local recorded it."""
    for address in stored():
        with open(f"/var/lib/cni/networks/{NETWORK}/{address}", newline="") as f:
            cid = f.read().split("\r\n")[0]
        if name in cid:
            return cid
    raise AssertionError(f"no reservation of {name}")
