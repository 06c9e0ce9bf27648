"""Our plugins and the reference's in one chain, and on one data directory: users may move one at a time."""
import pytest

from conftest import reservations
from lib import cni, configs, nft, snapshot, traffic
from lib.cni import OURS, OURS_DIR, REFERENCE, REFERENCE_DIR, Attachment, Conflist, Plugins

pytestmark = pytest.mark.netns

VERSION = "1.0.0"
OURS_FIRST = Plugins(OURS_DIR, REFERENCE_DIR)


@pytest.fixture
def foreign_ipam_folder(tmp_path):
    """Folders in which only host-local is of the other maker: symbolic links under the standard names."""
    def make(main, ipam):
        folder = tmp_path / f"mixed-{len(list(tmp_path.glob('mixed-*')))}"
        folder.mkdir()
        for name in ("bridge", "ptp", "loopback"):
            (folder / name).symlink_to(main.find(name))
        for name in ("host-local", "static"):
            (folder / name).symlink_to(ipam.find(name))
        return Plugins(str(folder))
    return make


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
@pytest.mark.parametrize("verb_maker", ["ours with their IPAM", "theirs with our IPAM"])
def test_either_interface_plugin_with_the_others_ipam(plugin, verb_maker, foreign_ipam_folder, host, outside, container, tmp_path):
    plugins = foreign_ipam_folder(OURS, REFERENCE) if verb_maker.startswith("ours") else foreign_ipam_folder(REFERENCE, OURS)
    make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
    config = make(tmp_path / "data", VERSION, ipMasq=True)
    attachment = Attachment(host, config, container, plugins=plugins)
    result = attachment.add()
    assert result["ips"][0]["address"] == {"bridge": "10.20.0.2/24", "ptp": "10.30.0.2/24"}[plugin]
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    attachment.check().expect_ok()
    assert list(reservations(tmp_path / "data", config["name"])) == attachment.addresses
    attachment.delete().expect_ok()
    assert container.links() == [] and reservations(tmp_path / "data", config["name"]) == {}


def test_alternating_makers_never_give_an_address_twice(host, container, tmp_path):
    """One data directory; round robin goes on where the other one stopped; each releases what the other reserved."""
    config = configs.ipam_only(tmp_path, VERSION, subnets=("10.40.0.0/28",))
    live, seen = [], []
    for i in range(40):
        attachment = Attachment(host, config, container, plugins=(OURS, REFERENCE)[i % 2])
        attachment.add()
        live.append(attachment)
        seen.append(attachment.addresses[0])
        assert set(reservations(tmp_path, "pool")) == {a.addresses[0] for a in live}
        if len(live) > 6:
            leaving = live.pop(0)
            leaving.plugins = REFERENCE if leaving.plugins is OURS else OURS
            leaving.delete().expect_ok()
    # 13 addresses, never the one just released: the order is that of one allocator
    assert seen[:13] == [f"10.40.0.{n}" for n in range(2, 15)]
    assert all(seen[i + 13] == seen[i] for i in range(len(seen) - 13))


def test_a_node_moves_from_the_reference_to_ours_while_pods_run(host, outside, spaces, tmp_path):
    """Old pods keep working, new ones get other addresses on the same bridge, and ours deletes the old ones."""
    config = configs.bridge(tmp_path, VERSION, ipMasq=True)
    old = [Attachment(host, config, spaces.new("old"), plugins=REFERENCE) for _ in range(3)]
    for attachment in old:
        attachment.add()
    new = [Attachment(host, config, spaces.new("new"), plugins=OURS) for _ in range(3)]
    for attachment in new:
        attachment.add()
    assert len({a.addresses[0] for a in old + new}) == 6
    assert traffic.reach(old[0].container, new[0].container, new[0].addresses[0]) == old[0].addresses[0]
    for attachment in old + new:
        assert traffic.reach(attachment.container, outside, "198.18.0.2") == "198.18.0.1"
    for attachment in old:
        attachment.plugins = OURS
        attachment.delete().expect_ok()
        assert attachment.container.links() == []
    assert set(reservations(tmp_path, "blue")) == {a.addresses[0] for a in new}
    assert traffic.reach(new[0].container, outside, "198.18.0.2") == "198.18.0.1"


def test_and_back(host, outside, spaces, tmp_path):
    """What ours made, the reference's DEL takes down (its own nft element it cannot know; ours' GC or DEL does)."""
    config = configs.bridge(tmp_path, VERSION)
    attachment = Attachment(host, config, spaces.new("c"), plugins=OURS)
    attachment.add()
    attachment.plugins = REFERENCE
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert attachment.container.links() == [] and set(host.links()) <= {"cni0", "uplink"}
    assert reservations(tmp_path, "blue") == {}


# --- chains -------------------------------------------------------------------------------------

PORTMAP = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True},
           "runtimeConfig": {"portMappings": [{"hostPort": 8088, "containerPort": 80, "protocol": "tcp"}]}}
FIREWALL = {"type": "firewall", "backend": "iptables"}
TUNING = {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}, "mtu": 1420}
TUNING_MAC = {"type": "tuning", "mac": "02:aa:bb:cc:dd:ee"}
BANDWIDTH = {"type": "bandwidth", "ingressRate": 100_000_000, "ingressBurst": 10_000_000, "egressRate": 100_000_000, "egressBurst": 10_000_000}
LOOPBACK = {"type": "loopback"}


def first(plugin, data_dir, **keys):
    make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
    config = make(data_dir, VERSION, ipMasq=True, **keys)
    return {k: v for k, v in config.items() if k not in ("name", "cniVersion")}


def kinds(order, plugin, data_dir):
    """(Plugins, config) of a chain. Interface plugins must come first; tuning may come at any later place."""
    main, after = first(plugin, data_dir), {"portmap": PORTMAP, "firewall": FIREWALL, "tuning": TUNING}
    return [(OURS_FIRST, main)] + [(REFERENCE, after[name]) for name in order]


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
@pytest.mark.parametrize("order", [("portmap", "firewall", "tuning"), ("tuning", "firewall", "portmap"), ("firewall", "portmap", "tuning")], ids="-".join)
def test_their_meta_plugins_after_ours(order, plugin, host, outside, container, tmp_path):
    """The chain that podman and CRI-O use: port 8088 of the host reaches port 80 of the container."""
    chain = Conflist(host, VERSION, "chain", kinds(order, plugin, tmp_path / "data"))
    result = chain.add("c1", container.path)
    address = result["ips"][0]["address"].split("/")[0]
    assert [i for i in result["interfaces"] if i.get("sandbox") == container.path][0]["name"] == "eth0"
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    with traffic.listener(container, address, 80) as server:
        assert traffic.connect(outside, server, "198.18.0.1", 8088) == "198.18.0.2"
    chain.check("c1", container.path, entries=chain.entries[:1])  # CHECK of Debian's portmap and tuning is broken
    chain.delete("c1", container.path)
    assert container.links() == [] and set(host.links()) <= {"cni0", "uplink"}
    assert nft.ours(host) == [] and reservations(tmp_path / "data", "chain") == {}


def test_bandwidth_of_theirs_finds_our_host_end(host, outside, container, tmp_path):
    """It looks up the veth peer among the interfaces of our result."""
    chain = Conflist(host, VERSION, "chain", [(OURS_FIRST, first("bridge", tmp_path)), (REFERENCE, BANDWIDTH)])
    result = chain.add("c1", container.path)
    port = next(i["name"] for i in result["interfaces"] if cni.HOST_VETH.match(i["name"]))
    assert "tbf" in host.run("tc", "qdisc", "show", "dev", port)
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    chain.delete("c1", container.path)
    assert set(host.links()) <= {"cni0", "uplink"}


def test_check_accepts_what_tuning_changed_and_told(host, container, tmp_path):
    """tuning changes the MAC and writes the new one into the result; our CHECK compares with the final result."""
    chain = Conflist(host, VERSION, "chain", [(OURS_FIRST, first("bridge", tmp_path)), (REFERENCE, TUNING_MAC)])
    result = chain.add("c1", container.path)
    assert TUNING_MAC["mac"] in [i["mac"] for i in result["interfaces"]]
    chain.check("c1", container.path)
    chain.delete("c1", container.path, with_result=False)
    assert container.links() == []


def test_our_loopback_after_theirs_passes_the_result_on(host, container, tmp_path):
    """A chain in the other order: the reference's bridge first, ours behind it."""
    entries = [(REFERENCE, first("bridge", tmp_path)), (OURS, LOOPBACK)]
    chain = Conflist(host, VERSION, "chain", entries)
    result = chain.add("c1", container.path)
    assert [i["name"] for i in result["interfaces"] if i.get("sandbox")] == ["eth0"]
    assert result["ips"][0]["address"] == "10.20.0.2/24"
    chain.check("c1", container.path)
    chain.delete("c1", container.path)
    assert container.links() == [] and reservations(tmp_path, "chain") == {}


def test_the_references_loopback_before_and_after_ours(host, container, tmp_path):
    for entries in ([(REFERENCE, LOOPBACK)], [(OURS, LOOPBACK)]):
        chain = Conflist(host, VERSION, "lo", entries)
        chain.add("c1", container.path, "lo")
        chain.check("c1", container.path, "lo")
        chain.delete("c1", container.path, "lo")
        assert "UP" not in snapshot.links(container)[0]["flags"]


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_results_of_every_chainable_version_are_understood_by_theirs(version, host, outside, container, tmp_path):
    entries = [(OURS_FIRST, first("bridge", tmp_path)), (REFERENCE, PORTMAP), (REFERENCE, TUNING)]
    chain = Conflist(host, version, "chain", entries)
    result = chain.add("c1", container.path)
    assert result["cniVersion"] == version
    assert traffic.reach(container, outside, "198.18.0.2") == "198.18.0.1"
    chain.delete("c1", container.path)
    assert container.links() == []
