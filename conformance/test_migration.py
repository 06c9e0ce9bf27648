"""What the reference's plugins made before the swap, our DEL and GC remove: the ruleset is as it was before their ADD.

What they share between containers and never remove stays: base chains, CNI-HOSTPORT-*, CNI-FORWARD, CNI-ADMIN,
CNI-ISOLATION-STAGE-*. So "before" is a host on which another container of the reference was added and deleted.
"""
import hashlib

import pytest

from lib import cni, configs, nft, traffic
from lib.cni import OURS, REFERENCE, Attachment, Conflist, execute

pytestmark = pytest.mark.netns

VERSION = "1.0.0"
HOST = "198.18.0.1"
PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]


def entries(folder, plugin, chain, subnets=("10.90.0.0/24", "fd90::/64"), **keys):
    make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
    main = {k: v for k, v in make(folder / "ipam", VERSION, "old", subnets, ("0.0.0.0/0", "::/0"), ipMasq=True, **keys).items()
            if k not in ("name", "cniVersion")}
    more = {"portmap": {"type": "portmap", "runtimeConfig": {"portMappings": PORTS}},
            "firewall": {"type": "firewall", "backend": "iptables"}}
    return [main, *[more[name] for name in chain]]


class Container:
    """One that the reference has added."""

    def __init__(self, host, container, folder, plugin="bridge", chain=("portmap", "firewall"), cid="old-1", name="old", **keys):
        self.configs = entries(folder, plugin, chain, **keys)
        self.host, self.container, self.cid, self.name, self.ifname = host, container, cid, name, "eth0"

    def by(self, plugins):
        made = Conflist(self.host, VERSION, self.name, [(plugins, c) for c in self.configs])
        made.result = getattr(self, "result", None)
        return made

    def add(self):
        self.result = self.by(REFERENCE).add(self.cid, self.container.path)
        return self

    def delete(self, plugins=OURS, **keys):
        self.by(plugins).delete(self.cid, self.container.path, **keys)


def rules(ns):
    """All tables but ours, without counts; in the order of the kernel."""
    text = ns.run("nft", "-s", "list", "ruleset")
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture
def used(host, spaces, tmp_path):
    """A host on which the reference has been: what it never removes is there."""
    def make(plugin, chain, **keys):
        former = Container(host, spaces.new("former"), tmp_path, plugin, chain, cid="former", **keys).add()
        former.delete(REFERENCE)
        return rules(host)
    return make


@pytest.mark.parametrize("chain", [(), ("portmap",), ("firewall",), ("portmap", "firewall")], ids=lambda c: "-".join(c) or "alone")
@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_our_del_removes_what_the_reference_made(plugin, chain, used, host, outside, container, tmp_path):
    before = used(plugin, chain)
    old = Container(host, container, tmp_path, plugin, chain).add()
    assert rules(host) != before
    old.delete()
    assert rules(host) == before
    assert nft.ours(host) == [] and container.links() == []
    if "portmap" in chain:
        assert traffic.refused_or_lost(outside, HOST, 8080)


def test_without_previous_result_all_but_the_addresses_of_firewall_is_found(used, host, container, tmp_path):
    before = used("bridge", ("portmap",))
    old = Container(host, container, tmp_path, "bridge", ("portmap",)).add()
    old.delete(with_result=False)
    assert rules(host) == before


def test_without_a_namespace(used, host, container, spaces, tmp_path):
    before = used("ptp", ("portmap", "firewall"))
    old = Container(host, container, tmp_path, "ptp", ("portmap", "firewall")).add()
    container.ip("link", "del", "eth0")
    old.container = type("Gone", (), {"path": "/run/netns/gone"})
    old.delete()
    assert rules(host) == before


def test_macspoofchk(used, host, container, tmp_path):
    before = used("bridge", (), macspoofchk=True)
    old = Container(host, container, tmp_path, "bridge", (), macspoofchk=True).add()
    assert "cni-br-iface-old-1-eth0" in nft.text(host)
    old.delete()
    assert rules(host) == before


def test_neighbours_of_the_reference_keep_working(host, outside, container, spaces, tmp_path):
    """DEL of one container leaves the rules of all others: of the network, and of the same id in another network."""
    gone = Container(host, container, tmp_path, chain=("firewall",)).add()
    stays = Container(host, spaces.new("s"), tmp_path, chain=("portmap", "firewall"), cid="stays").add()
    gone.delete()
    address = stays.result["ips"][0]["address"].split("/")[0]
    assert traffic.reach(stays.container, outside, "198.18.0.2") == HOST
    with traffic.listener(stays.container, address, 80) as server:
        assert traffic.connect(outside, server, HOST, 8080) == "198.18.0.2"
    stays.by(REFERENCE).check("stays", stays.container.path, entries=[(REFERENCE, c) for c in stays.configs[2:]])
    stays.delete()


def test_twice_and_with_nothing_there(host, container, tmp_path):
    old = Container(host, container, tmp_path).add()
    old.delete()
    after = rules(host)
    old.delete()
    assert rules(host) == after


def test_a_host_with_both_at_once(used, host, outside, container, spaces, tmp_path):
    """New containers come while old ones go."""
    before = used("bridge", ("portmap", "firewall"))
    old = Container(host, container, tmp_path, chain=("firewall",)).add()
    new = Container(host, spaces.new("n"), tmp_path, chain=("portmap", "firewall"), cid="new")
    new.result = new.by(OURS).add("new", new.container.path)
    old.delete()
    address = new.result["ips"][0]["address"].split("/")[0]
    assert traffic.reach(new.container, outside, "198.18.0.2") == HOST
    with traffic.listener(new.container, address, 80) as server:
        assert traffic.connect(outside, server, HOST, 8080) == "198.18.0.2"
    new.delete()
    assert rules(host) == before


@pytest.mark.parametrize("valid", [[], ["stays"]], ids=["none valid", "one valid"])
def test_gc_removes_what_tells_its_network(valid, host, container, spaces, tmp_path):
    """ipMasq and portmap say it in comments; macspoofchk goes with its interface."""
    stale = Container(host, container, tmp_path, chain=("portmap",), macspoofchk=True, cid="stale").add()
    stays = Container(host, spaces.new("s"), tmp_path, chain=(), macspoofchk=True, cid="stays").add()
    host.ip("link", "del", next(i["name"] for i in stale.result["interfaces"] if cni.HOST_VETH.match(i["name"])))
    for config in stale.configs:
        execute(host, OURS, config["type"], "GC", {
            **config, "cniVersion": "1.1.0", "name": "old",
            "cni.dev/valid-attachments": [{"containerID": c, "ifname": "eth0"} for c in valid]}).expect_ok()
    text = nft.text(host)
    assert "8080" not in text and "stale" not in text
    digest = hashlib.sha512(b"oldstale").hexdigest()
    assert digest[:20] not in text
    assert (hashlib.sha512(b"oldstays").hexdigest()[:20] in text) == (valid == ["stays"])
    assert "cni-br-iface-stays-eth0" in text  # its interface is there


# --- the nft backends of newer references, which Debian does not have: their layout as they describe it ------

def digest16(text):
    return hashlib.sha512(text.encode()).hexdigest()[:16]


MASQUERADE = """
table inet cni_plugins_masquerade {{
  comment "Masquerading for plugins from github.com/containernetworking/plugins"
  chain masq_checks {{
    {rules}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip daddr 224.0.0.0/4 return
    ip6 daddr ff00::/8 return
    goto masq_checks
  }}
}}
"""


def masquerade_rule(cid, address, network="old"):
    tag = f"{digest16(network)}-{digest16('eth0:' + cid)}, net: {network}, if: eth0, id: {cid}"
    return f'ip saddr {address} ip daddr != 10.90.0.0/24 masquerade comment "{tag}"'


def test_the_newer_references_masquerading(host, container, tmp_path):
    both = [masquerade_rule("gone", "10.90.0.2"), masquerade_rule("stays", "10.90.0.3"), masquerade_rule("gone", "10.91.0.2", "another")]
    host.run("nft", "-f", "-", stdin=MASQUERADE.format(rules="\n".join(both)))
    config = configs.bridge(tmp_path, "1.1.0", "old")
    Attachment(host, config, container, cid="gone").delete().expect_ok()
    text = nft.text(host)
    assert "10.90.0.2" not in text and "10.90.0.3" in text and "10.91.0.2" in text
    cni.gc(host, config, []).expect_ok()
    text = nft.text(host)
    assert "10.90.0.3" not in text and "10.91.0.2" in text


HOSTPORT = """
table ip cni_hostport {
  chain hostports {
    tcp dport 8080 dnat to 10.90.0.2:80 comment "gone"
    tcp dport 8081 dnat to 10.91.0.2:80 comment "gone"
    tcp dport 8082 dnat to 10.90.0.3:80 comment "stays"
  }
  chain hostip_hostports {
    ip daddr 192.0.2.1 tcp dport 9090 dnat to 10.90.0.2:90 comment "gone"
  }
  chain hostports_all {
    jump hostip_hostports
    jump hostports
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump hostports_all
  }
  chain masquerading {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.90.0.2 ip daddr 10.90.0.2 masquerade comment "gone"
    ip saddr 127.0.0.1 ip daddr 10.90.0.2 masquerade comment "gone"
    ip saddr 10.90.0.3 ip daddr 10.90.0.3 masquerade comment "stays"
  }
}
"""


@pytest.mark.parametrize("with_result", [True, False])
def test_the_newer_references_port_mappings(with_result, host, container):
    """Their rules know the container only; with prevResult those of its other networks stay."""
    host.run("nft", "-f", "-", stdin=HOSTPORT)
    config = {"cniVersion": "1.1.0", "name": "old", "type": "portmap"}
    if with_result:
        config["prevResult"] = {"cniVersion": "1.1.0", "ips": [{"address": "10.90.0.2/24"}], "interfaces": []}
    execute(host, OURS, "portmap", "DEL", config, "gone", container.path, "eth0").expect_ok()
    text = nft.text(host)
    assert "10.90.0.2" not in text and text.count("10.90.0.3") == 3
    assert ("10.91.0.2" in text) == with_result
    assert "jump hostports_all" in text


def test_nothing_is_listed_where_nothing_is(host, container, tmp_path):
    """One request for the names, whatever else the tables hold."""
    host.run("nft", "-f", "-", stdin="table ip nat {\n chain POSTROUTING { type nat hook postrouting priority 100;\n"
             + "\n".join(f"ip saddr 10.0.{n // 250}.{n % 250} counter" for n in range(2000)) + "\n }\n}")
    config = {"cniVersion": "1.1.0", "name": "old", "type": "portmap"}
    trace = tmp_path / "trace"
    execute(host, OURS, "portmap", "DEL", config, "gone", container.path, "eth0",
            wrapper=["strace", "-e", "trace=recvfrom", "-o", str(trace)]).expect_ok()
    received = [int(line.rsplit("= ", 1)[1]) for line in trace.read_text().splitlines() if line.rsplit("= ", 1)[-1].strip().isdigit()]
    assert sum(received) < 8192
