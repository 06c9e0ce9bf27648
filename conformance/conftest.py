"""Isolation, fixtures, and the rule that a run which executed nothing fails."""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cni, netns, nft, snapshot  # noqa: E402

SCRATCH = "/run/culvert-conformance"
TOOLS = os.path.join(cni.ROOT, "build/conformance")


def pytest_configure(config):
    if config.option.collectonly or config.option.help:
        return
    netns.isolate(extra_folders=[SCRATCH])
    if config.option.basetemp is None:
        config.option.basetemp = os.path.join(SCRATCH, "tmp")
    os.makedirs(os.path.dirname(config.option.basetemp), exist_ok=True)  # a worker of xdist has mounts of its own


def pytest_report_header():
    return f"plugins under test: {cni.OURS_DIR}; reference: {cni.REFERENCE_DIR}"


def pytest_sessionfinish(session, exitstatus):
    if session.config.option.collectonly or exitstatus != 0:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not reporter.stats.get("passed"):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(scope="session", autouse=True)
def plugins_exist():
    if not os.path.isdir(cni.OURS_DIR):
        pytest.exit(f"no plugins in {cni.OURS_DIR}: run ./dev build, or set CULVERT_CNI_DIR", returncode=3)


@pytest.fixture(scope="session")
def tools():
    """The folder with the small C programs of conformance/tools, built on first use."""
    folder = os.path.join(cni.ROOT, "conformance/tools")
    subprocess.run(["flock", folder, "make", "-s", "-C", folder, f"OUT={TOOLS}"], check=True)
    return TOOLS


@pytest.fixture
def spaces():
    made = netns.Namespaces()
    yield made
    made.close()


@pytest.fixture
def host(spaces):
    """A fresh "machine": the network namespace in which plugins run, and nothing in their folders."""
    netns.empty_folders()
    return spaces.new("host")


@pytest.fixture
def container(spaces):
    return spaces.new("c")


@pytest.fixture
def outside(host, spaces):
    """A host beyond the machine's uplink, with no route back to any container."""
    beyond = spaces.new("out")
    netns.join(host, beyond, "uplink", "eth0", ["198.18.0.1/24", "fd18::1/64"], ["198.18.0.2/24", "fd18::2/64"])
    return beyond


@pytest.fixture(scope="session")
def vlan_filtering():
    """Skips, with the reason, where the kernel has no bridge vlan filtering."""
    ns = netns.NetNs("probe")
    try:
        done = ns.ip("link", "add", "br0", "type", "bridge", "vlan_filtering", "1", check=False)
        enabled = any(l.get("linkinfo", {}).get("info_data", {}).get("vlan_filtering") == 1
                      for l in snapshot.links(ns))
    finally:
        ns.delete()
    if not enabled:
        pytest.skip("this kernel has no bridge vlan filtering (CONFIG_BRIDGE_VLAN_FILTERING); run in the virtual machine")
    return done


def reservations(data_dir, network):
    """Addresses reserved on disk: file name to content."""
    folder = os.path.join(data_dir, network)
    if not os.path.isdir(folder):
        return {}
    return {n: c for n, (_, _, c) in snapshot.files(folder).items()
            if n != "lock" and not n.startswith("last_reserved_ip.")}


@pytest.fixture
def clean_after(host):
    """Call it at the end: nothing of ours is on the host but the links named."""
    def check(*remaining_links, data_dir=None, network=None):
        assert host.links() == sorted(remaining_links)
        assert nft.ours(host) == []
        if data_dir:
            assert reservations(data_dir, network) == {}
    return check
