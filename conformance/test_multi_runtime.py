"""podman and containerd run containers with two networks, a bridge and a macvlan, through multi."""
import glob
import json
import os
import subprocess
import tempfile

import pytest

from conftest import SCRATCH
from lib import cni, configs, multi, netns, nft, runtimes, traffic
from lib.cni import OURS

pytestmark = pytest.mark.runtime

NETWORK = "both"


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    netns.mount_tmpfs("/dev/shm")  # podman keeps locks there; this mount is private to the test process
    return runtimes.make_rootfs(str(tmp_path_factory.mktemp("multi") / "rootfs"))


@pytest.fixture
def networks(host, outside, tmp_path):
    """The folder with the bridge network and the macvlan on the uplink."""
    made = multi.Setup(tmp_path, "1.0.0", NETWORK)
    made.network(configs.bridge(made.data, "1.0.0", name="cluster", ipMasq=True))
    made.macvlan()
    made.keys["clusterNetwork"] = "cluster"
    return made


def write_list(path, setup, **keys):
    with open(path, "w") as f:
        json.dump(multi.as_list(setup.config(**keys)), f)


@pytest.fixture
def podman(host, rootfs):
    folder = tempfile.mkdtemp(dir=SCRATCH)  # podman wants at most 50 characters
    made = runtimes.Podman(host, OURS, folder, rootfs)
    yield made
    made.close()


@pytest.fixture
def containerd(host, rootfs, tmp_path):
    """ctr has its folders built in: they are mounted over, in this process's private mount namespace."""
    for folder in ("/opt", "/etc/cni"):
        netns.mount_tmpfs(folder)
    os.makedirs("/opt/cni")
    os.symlink(OURS.folders[0], "/opt/cni/bin")
    os.makedirs("/etc/cni/net.d")
    made = runtimes.Containerd(host, tmp_path / "containerd", rootfs)
    yield made
    made.close()
    for folder in ("/opt", "/etc/cni"):
        subprocess.run(["umount", "-l", folder], check=True)


def address_on(shown, name):
    """The IPv4 address of one interface in the output of `ip addr`."""
    block = shown.split(f": {name}@")[1].split("\n\n")[0]
    return block.split("inet ")[1].split("/")[0]


def assert_two_networks(run, other, outside, seen_from_bridge):
    """run(name, command...) inside containers a and b; other(...) the same, not waited for."""
    shown = {name: run(name, "/bin/ip", "addr") for name in "ab"}
    on = {name: {i: address_on(shown[name], i) for i in ("eth0", "net1")} for name in "ab"}
    for name in "ab":
        assert on[name]["eth0"].startswith("10.20.0.") and on[name]["net1"].startswith("198.18.0.")
        assert "default via 10.20.0.1 dev eth0" in run(name, "/bin/ip", "route")
    for interface in ("eth0", "net1"):
        assert "1 packets received" in run("a", "/bin/ping", "-c", "1", "-I", interface, on["b"][interface])
    # On the wire of net1 a container is seen as itself; through the bridge and the default route as the host.
    for address, seen in (("198.18.0.2", on["a"]["net1"]), ("198.51.100.2", seen_from_bridge)):
        with traffic.listener(outside, address) as server:
            client = other("a", "/bin/sh", "-c", f"echo hello | /bin/nc {address} 8080")
            peer, source = server.accept()
            with peer:
                assert peer.recv(5) == b"hello" and source[0] == seen
            client.wait(20)
    return on


@pytest.fixture
def beyond(host, outside):
    """An address behind the outside host: reached by the default route only."""
    outside.ip("address", "add", "198.51.100.2/32", "dev", "lo")
    host.ip("route", "add", "198.51.100.2/32", "via", "198.18.0.2")
    return outside


def assert_nothing_left(host, networks):
    assert host.links() == ["cni0", "uplink"]
    assert networks.reserved() == {} and multi.traces() == [] and nft.ours(host) == []
    assert glob.glob("/run/culvert/attachments/*/*") == []


def test_podman_runs_containers_with_two_networks(podman, host, beyond, networks):
    write_list(f"{podman.network_dir}/50-both.conflist", networks, networks="wire")
    assert NETWORK in podman("network", "ls")
    for name in "ab":
        podman.run(name, NETWORK)
    on = assert_two_networks(lambda n, *c: podman("exec", n, *c), lambda n, *c: podman.start("exec", n, *c), beyond, "198.18.0.1")
    assert podman.address("a", NETWORK) == on["a"]["eth0"]
    podman("restart", "-t", "0", "b")
    assert "net1" in podman("exec", "b", "ip", "addr")
    podman("rm", "-f", "-t", "0", "a", "b")
    assert_nothing_left(host, networks)


def test_podman_containers_are_pods_of_the_folder(podman, host, networks):
    """podman passes the container's name as K8S_POD_NAME."""
    networks.write("pods.yaml", json.dumps(multi.pod("web", networks="wire@lan0")))
    write_list(f"{podman.network_dir}/50-both.conflist", networks)
    podman.run("web", NETWORK)
    podman.run("db", NETWORK)
    assert "lan0" in podman("exec", "web", "ip", "addr") and "lan0" not in podman("exec", "db", "ip", "addr")
    podman("rm", "-f", "-t", "0", "web", "db")
    assert_nothing_left(host, networks)


def test_containerd_runs_containers_with_two_networks(containerd, host, beyond, networks):
    """ctr passes no pod: `networks` in the conflist it is."""
    write_list("/etc/cni/net.d/10-both.conflist", networks, networks="wire")
    processes = [containerd.run_in_foreground(name) for name in "ab"]
    assert_two_networks(containerd.exec, lambda n, *c: containerd.start("task", "exec", "--exec-id", cni.new_id("x"), n, *c),
                        beyond, "198.18.0.1")
    for name, process in zip("ab", processes):
        containerd("task", "kill", "-s", "SIGKILL", name)
        process.wait(20)
    assert_nothing_left(host, networks)
