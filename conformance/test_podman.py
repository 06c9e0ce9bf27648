"""podman with its CNI backend on our plugins; the reference's portmap, firewall and tuning chained behind."""
import glob
import json
import os
import tempfile
import time

import pytest

from conftest import SCRATCH
from lib import cni, netns, nft, runtimes, traffic
from lib.cni import OURS_DIR, REFERENCE_DIR, Plugins

pytestmark = pytest.mark.runtime

# podman writes chains of bridge, portmap, firewall and tuning: what ours lacks comes from the reference.
FOLDERS = {"ours": Plugins(OURS_DIR, REFERENCE_DIR), "reference": Plugins(REFERENCE_DIR)}
NETWORK, SUBNET = "culv", "10.77.7.0/24"


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    netns.mount_tmpfs("/dev/shm")  # podman keeps locks there; this mount is private to the test process
    return runtimes.make_rootfs(str(tmp_path_factory.mktemp("podman") / "rootfs"))


@pytest.fixture(params=FOLDERS)
def which(request):
    return request.param


@pytest.fixture
def podman(which, host, rootfs):
    folder = tempfile.mkdtemp(dir=SCRATCH)  # podman wants at most 50 characters
    made = runtimes.Podman(host, FOLDERS[which], folder, rootfs)
    yield made
    made.close()


def from_container(podman, name, outside, address):
    """The source address under which a server outside sees a container's connection."""
    with traffic.listener(outside, address) as server:
        client = podman.start("exec", name, "sh", "-c", f"echo hello | nc {address} 8080")
        try:
            peer, seen = server.accept()
            with peer:
                assert peer.recv(5) == b"hello"
            return seen[0]
        finally:
            client.wait(20)


def stored(network=NETWORK):
    return sorted(os.path.basename(f) for f in glob.glob(f"/var/lib/cni/networks/{network}/[0-9a-f]*"))


def test_two_containers_meet_reach_outside_and_leave_no_trace(which, podman, host, outside):
    podman("network", "create", "--subnet", SUBNET, NETWORK)
    podman.run("a", NETWORK)
    podman.run("b", NETWORK)
    assert [podman.address(n, NETWORK) for n in "ab"] == ["10.77.7.2", "10.77.7.3"]
    assert "1 packets received" in podman("exec", "a", "ping", "-c", "1", "10.77.7.3")
    assert from_container(podman, "a", outside, "198.18.0.2") == "198.18.0.1"
    assert NETWORK in podman("network", "ls")
    if which == "ours" and not cni.IS_REFERENCE:
        assert len([l for l in host.links() if l.startswith("veth") and len(l) == 15]) == 2
    podman("rm", "-f", "-t", "0", "a", "b")
    assert [l for l in host.links() if l not in ("uplink", "cni-podman1")] == []
    assert stored() == []
    if which == "ours" and not cni.IS_REFERENCE:
        assert nft.ours(host) == []
    podman("network", "rm", NETWORK)
    assert host.links() == ["uplink"]


def test_a_published_port_works_through_their_portmap(podman, host, outside):
    podman("network", "create", "--subnet", SUBNET, NETWORK)
    podman.run("web", NETWORK, "-p", "8090:80")
    server = podman.start("exec", "web", "sh", "-c", "echo served | nc -l -p 80")
    try:
        answer = b""
        for _ in range(50):
            with outside.enter():
                client = traffic.socket.socket()
            with client:
                client.settimeout(2)
                try:
                    client.connect(("198.18.0.1", 8090))
                    answer = client.recv(6)
                    break
                except OSError:
                    time.sleep(0.1)
        assert answer == b"served"
    finally:
        podman("rm", "-f", "-t", "0", "web")
        server.wait(20)
    assert stored() == []




def test_dual_stack_fixed_addresses_and_mac(podman, host, outside):
    podman("network", "create", "--ipv6", "--subnet", SUBNET, "--subnet", "fd77::/64", NETWORK)
    podman.run("a", NETWORK, "--ip", "10.77.7.50", "--ip6", "fd77::50", "--mac-address", "02:77:00:00:00:50")
    shown = podman("exec", "a", "ip", "addr")
    for needle in ("10.77.7.50/24", "fd77::50/64", "02:77:00:00:00:50"):
        assert needle in shown
    assert from_container(podman, "a", outside, "198.18.0.2") == "198.18.0.1"
    assert from_container(podman, "a", outside, "fd18::2") == "fd18::1"


def test_restart_connect_and_disconnect(podman, host):
    podman("network", "create", "--subnet", SUBNET, NETWORK)
    podman("network", "create", "--subnet", "10.78.7.0/24", "second")
    podman.run("a", NETWORK)
    podman("network", "connect", "second", "a")
    assert "10.78.7.2/24" in podman("exec", "a", "ip", "addr")
    podman("network", "disconnect", NETWORK, "a")
    assert "10.77.7." not in podman("exec", "a", "ip", "addr")
    assert stored() == [] and stored("second") == ["10.78.7.2"]
    podman("restart", "-t", "0", "a")
    assert "10.78.7." in podman("exec", "a", "ip", "addr")
    podman("rm", "-f", "-t", "0", "a")
    assert stored("second") == [] and [l for l in host.links() if l.startswith("veth")] == []


def test_an_internal_network_has_no_way_out(podman, outside):
    podman("network", "create", "--internal", "--subnet", SUBNET, NETWORK)
    podman.run("a", NETWORK)
    podman.run("b", NETWORK)
    assert "1 packets received" in podman("exec", "a", "ping", "-c", "1", podman.address("b", NETWORK))
    assert "default" not in podman("exec", "a", "ip", "route")


def test_a_hand_written_conflist_is_listed_and_used(which, podman, host, outside):
    """What an administrator writes for any CNI runtime, dropped into the folder."""
    chain = {"cniVersion": "0.4.0", "name": "byhand", "plugins": [
        {"type": "bridge", "bridge": "hand0", "isGateway": True, "ipMasq": True, "macspoofchk": False,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.79.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
    with open(os.path.join(podman.network_dir, "50-byhand.conflist"), "w") as f:
        json.dump(chain, f)
    assert "byhand" in podman("network", "ls")
    podman.run("a", "byhand")
    assert from_container(podman, "a", outside, "198.18.0.2") == "198.18.0.1"
    podman("rm", "-f", "-t", "0", "a")
    assert host.links() == ["hand0", "uplink"] and stored("byhand") == []
    if which == "ours" and not cni.IS_REFERENCE:
        assert nft.tables(host) == []
