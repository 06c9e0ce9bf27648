"""firewall: what the host forwards for containers, shown with packets."""
import concurrent.futures

import pytest

from lib import configs, nft, traffic
from lib.cni import OURS, REFERENCE, Conflist, execute, gc, status

pytestmark = pytest.mark.netns

HOST = "198.18.0.1"


class Guarded:
    """A container behind an interface plugin and firewall."""

    def __init__(self, host, container, folder, plugin="bridge", name="wall", bridge=None, subnets=("10.80.0.0/24", "fd80::/64"),
                 cid="wall-1", plugins=OURS, version="1.1.0", main_plugins=OURS, **keys):
        make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
        extra = {"bridge": bridge or f"br-{name}"} if plugin == "bridge" else {}
        main = {k: v for k, v in make(folder / "ipam", version, name, subnets, ("0.0.0.0/0", "::/0"), ipMasq=True, **extra).items()
                if k not in ("name", "cniVersion")}
        self.own = {"type": "firewall", **keys}
        self.chain = Conflist(host, version, name, [(main_plugins, main), (plugins, self.own)])
        self.host, self.container, self.cid, self.ifname = host, container, cid, "eth0"

    def add(self):
        self.result = self.chain.add(self.cid, self.container.path)
        self.addresses = [ip["address"].split("/")[0] for ip in self.result["ips"]]
        self.v4, self.v6 = self.addresses[0], self.addresses[-1]
        return self

    def config(self, with_result=True, **keys):
        own = {**self.own, "cniVersion": self.chain.version, "name": self.chain.name, **keys}
        return {**own, "prevResult": self.result} if with_result else own

    def run(self, verb, config=None, **changes):
        given = dict(cid=self.cid, netns=self.container.path, ifname="eth0")
        return execute(self.host, OURS, "firewall", verb, self.config() if config is None else config, **{**given, **changes})

    def check(self):
        return self.run("CHECK")

    def delete(self, **keys):
        self.chain.delete(self.cid, self.container.path, **keys)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def dropping(host):
    """As docker leaves a host: iptables' FORWARD drops what nobody has allowed."""
    for command in ("iptables", "ip6tables"):
        host.run(command, "-P", "FORWARD", "DROP")
    return host


def talks(source, target, address, timeout=1.0):
    try:
        return traffic.reach(source, target, address, timeout=timeout)
    except OSError:
        return None


def answers(source, target, address):
    """For what must get through: time for a packet to be sent again, on a busy machine."""
    return talks(source, target, address, timeout=6.0)


# --- through a FORWARD chain that drops -----------------------------------------------------------

def test_without_the_plugin_the_chain_drops(dropping, outside, container, folder):
    main = Guarded(dropping, container, folder)
    main.chain.entries = main.chain.entries[:1]
    main.add()
    assert talks(container, outside, "198.18.0.2") is None


@pytest.mark.parametrize("backend", [None, "nftables", "iptables"])
@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_containers_get_out_and_answers_come_back(plugin, backend, dropping, outside, container, folder):
    guarded = Guarded(dropping, container, folder, plugin, **({"backend": backend} if backend else {})).add()
    assert answers(container, outside, "198.18.0.2") == HOST
    assert answers(container, outside, "fd18::2") == "fd18::1"
    outside.ip("route", "add", "10.80.0.0/24", "via", HOST)
    assert talks(outside, container, guarded.v4) is None  # but nobody gets in
    guarded.check().expect_ok()
    guarded.delete()
    assert nft.ours(dropping) == []
    assert dropping.run("iptables", "-S") == "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"
    assert dropping.run("ip6tables", "-S") == "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"


def test_iptables_understands_what_is_in_its_tables(dropping, container, folder):
    guarded = Guarded(dropping, container, folder).add()
    assert dropping.run("iptables", "-S").splitlines()[3:] == [
        "-N CNI-ADMIN", "-N CNI-FORWARD",
        '-A FORWARD -m comment --comment culvert_cni -j CNI-FORWARD',
        '-A CNI-FORWARD -m comment --comment culvert_cni -j CNI-ADMIN',
        '-A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment culvert_cni -j ACCEPT']
    saved = dropping.run("iptables-save")
    dropping.run("iptables-restore", stdin=saved)
    guarded.check().expect_ok()
    guarded.delete()
    assert "CNI" not in dropping.run("iptables-save")


def test_the_mark_does_not_leave_the_forward_hook(dropping, outside, container, folder):
    Guarded(dropping, container, folder).add()
    dropping.run("nft", "-f", "-", stdin="""
table inet watch {
  chain post { type filter hook postrouting priority 0; meta mark & 0x1000 != 0 counter comment "seen"
  }
}
""")
    assert answers(container, outside, "198.18.0.2") == HOST
    assert 'counter packets 0 bytes 0 comment "seen"' in nft.text(dropping)


def test_a_chain_of_iptables_that_comes_later_is_opened_by_the_next_add(host, outside, container, spaces, folder):
    first = Guarded(host, container, folder).add()
    assert nft.tables(host) == [("inet", "culvert_cni")]
    host.run("iptables", "-P", "FORWARD", "DROP")
    first.check().expect_error(100, "FORWARD")
    assert talks(container, outside, "198.18.0.2") is None
    second = Guarded(host, spaces.new("s"), folder, cid="second").add()
    assert answers(container, outside, "198.18.0.2") == HOST
    for one in (first, second):
        one.check().expect_ok()
        one.delete()
    assert host.run("iptables", "-S", "FORWARD") == "-P FORWARD DROP\n"


def test_ours_and_theirs_in_one_chain(dropping, outside, container, spaces, folder):
    """Containers of the reference and of ours at the same time; each DEL leaves the other's."""
    theirs = Guarded(dropping, container, folder, plugins=REFERENCE, version="1.0.0", backend="iptables", cid="theirs").add()
    ours = Guarded(dropping, spaces.new("o"), folder, cid="ours").add()
    assert answers(theirs.container, outside, "198.18.0.2") == HOST and answers(ours.container, outside, "198.18.0.2") == HOST
    ours.delete()
    assert answers(theirs.container, outside, "198.18.0.2") == HOST
    ours.add()
    theirs.delete()
    assert answers(ours.container, outside, "198.18.0.2") == HOST
    ours.delete()


# --- operators' chains -----------------------------------------------------------------------------

def test_an_operator_drops_in_our_table(host, outside, container, spaces, folder):
    guarded = Guarded(host, container, folder).add()
    host.run("nft", "add", "rule", "inet", "culvert_cni", "CNI-ADMIN", "ip", "daddr", "198.18.0.2", "tcp", "dport", "8080", "drop")
    assert talks(container, outside, "198.18.0.2") is None
    other = Guarded(host, spaces.new("o"), folder, cid="other", name="more", subnets=("10.81.0.0/24",)).add()
    assert talks(other.container, outside, "198.18.0.2") is None
    other.delete()
    guarded.delete()
    assert "tcp dport 8080 drop" in nft.text(host)  # the operator's, and never flushed
    guarded.add()
    assert talks(container, outside, "198.18.0.2") is None


def test_an_operator_drops_in_iptables(dropping, outside, container, folder):
    guarded = Guarded(dropping, container, folder, iptablesAdminChainName="MY-RULES").add()
    dropping.run("iptables", "-A", "MY-RULES", "-d", "198.18.0.2", "-j", "DROP")
    assert talks(container, outside, "198.18.0.2") is None
    guarded.delete()
    assert "-A MY-RULES -d 198.18.0.2/32 -j DROP" in dropping.run("iptables", "-S")
    assert "-A CNI-FORWARD -m comment --comment culvert_cni -j MY-RULES" in dropping.run("iptables", "-S")


def test_admin_chains_of_two_networks(host, outside, container, spaces, folder):
    one = Guarded(host, container, folder, iptablesAdminChainName="ONE").add()
    two = Guarded(host, spaces.new("t"), folder, name="two", subnets=("10.82.0.0/24",), cid="two", iptablesAdminChainName="TWO").add()
    jumps = host.run("nft", "list", "chain", "inet", "culvert_cni", "forward_admin")
    assert "jump ONE" in jumps and "jump TWO" in jumps
    for guarded in (one, two):
        guarded.check().expect_ok()
        guarded.delete()
    assert nft.ours(host) == []


def test_invalid_packets_are_dropped_on_request(host, outside, container, folder):
    Guarded(host, container, folder, dropInvalid=True).add()
    assert answers(container, outside, "198.18.0.2") == HOST
    assert "ct state invalid ip saddr @forward_strict_ipv4 drop" in nft.text(host)
    assert [e for e in nft.elements(host, "inet") if e[0] == "forward_strict_ipv4"]


# --- ingressPolicy ---------------------------------------------------------------------------------

@pytest.fixture
def three(host, spaces, folder):
    """Two containers on one bridge and one on another, with the policy given."""
    def make(policy, iptables=False):
        if iptables:
            host.run("iptables", "-P", "FORWARD", "DROP")
        keys = {"ingressPolicy": policy} if policy else {}
        return (Guarded(host, spaces.new("a"), folder, name="a", bridge="br0", subnets=("10.83.0.0/24",), cid="a", **keys).add(),
                Guarded(host, spaces.new("b"), folder, name="a", bridge="br0", subnets=("10.83.0.0/24",), cid="b", **keys).add(),
                Guarded(host, spaces.new("c"), folder, name="c", bridge="br1", subnets=("10.84.0.0/24",), cid="c", **keys).add())
    return make


def reachable(containers):
    """Who reaches whom, as "ab"."""
    names = "abc"
    return {names[i] + names[j] for i, one in enumerate(containers) for j, other in enumerate(containers)
            if i != j and talks(one.container, other.container, other.v4)}


ALL = {"ab", "ac", "ba", "bc", "ca", "cb"}


@pytest.mark.parametrize("policy, expected", [("open", ALL), (None, ALL), ("same-bridge", {"ab", "ba"}), ("isolated", set())])
def test_policies(policy, expected, three, outside, host):
    containers = three(policy)
    assert reachable(containers) == expected
    for one in containers:
        assert answers(one.container, outside, "198.18.0.2") == HOST
        assert answers(one.container, host, f"{one.v4.rsplit('.', 1)[0]}.1")  # the host itself
        one.check().expect_ok()
    for one in containers:
        one.delete()
    assert nft.ours(host) == []


@pytest.mark.parametrize("policy, expected", [("same-bridge", {"ab", "ba"}), ("isolated", set())])
def test_policies_with_a_dropping_iptables(policy, expected, three, outside):
    containers = three(policy, iptables=True)
    assert reachable(containers) == expected
    assert answers(containers[0].container, outside, "198.18.0.2") == HOST


def test_a_policy_lasts_as_long_as_anybody_on_the_bridge(three, host):
    first, second, far = three("same-bridge")
    first.delete()
    assert not talks(second.container, far.container, far.v4)
    second.check().expect_ok()
    gc(host, {"cniVersion": "1.1.0", "name": "a", "type": "firewall"}, [second]).expect_ok()
    second.check().expect_ok()
    second.delete()
    assert "br0" not in nft.text(host)
    far.check().expect_ok()


def test_an_open_network_reaches_one_with_a_policy(three, host, container, folder):
    """The policy is between networks that have one, as with the reference."""
    first, _, _ = three("same-bridge")
    free = Guarded(host, container, folder, name="free", subnets=("10.85.0.0/24",), cid="free").add()
    assert answers(free.container, first.container, first.v4)


# --- verbs -----------------------------------------------------------------------------------------

def test_the_result_is_passed_on(host, container, folder):
    guarded = Guarded(host, container, folder).add()
    assert guarded.run("ADD").expect_ok().json == guarded.result


def test_del_needs_nothing_but_the_name(dropping, container, folder):
    guarded = Guarded(dropping, container, folder, ingressPolicy="isolated").add()
    config = {"cniVersion": "1.1.0", "name": "wall", "type": "firewall", "backend": "nonsense", "ingressPolicy": 5}
    for _ in range(2):
        guarded.run("DEL", config, netns=None).expect_ok()
        assert "forward_" not in "".join(e[0] for e in nft.elements(dropping, "inet"))
        assert "CNI" not in dropping.run("iptables", "-S")
        assert ("bridge", "culvert_cni") not in nft.tables(dropping)
    guarded.delete()


def drop_addresses(host, guarded):
    nft.delete_elements(host, "inet", guarded.v4)


def flush_filter(host, guarded):
    host.run("nft", "flush", "chain", "inet", "culvert_cni", "forward")


def flush_admin(host, guarded):
    host.run("nft", "flush", "chain", "inet", "culvert_cni", "forward_admin")


def flush_gate(host, guarded):
    host.run("iptables", "-F", "CNI-FORWARD")


def drop_jump(host, guarded):
    host.run("iptables", "-F", "FORWARD")


def drop_bridge(host, guarded):
    host.run("nft", "flush", "set", "inet", "culvert_cni", "forward_bridges")


def drop_port(host, guarded):
    host.run("nft", "flush", "set", "bridge", "culvert_cni", "isolated")


@pytest.mark.parametrize("damage", [drop_addresses, flush_filter, flush_admin, flush_gate, drop_jump, drop_bridge, drop_port])
def test_check_misses_every_part(damage, dropping, container, folder):
    guarded = Guarded(dropping, container, folder, ingressPolicy="isolated").add()
    guarded.check().expect_ok()
    damage(dropping, guarded)
    guarded.check().expect_error(100)


def test_check_changes_nothing(dropping, container, folder):
    guarded = Guarded(dropping, container, folder).add()
    before = dropping.run("nft", "-s", "list", "ruleset")
    guarded.check().expect_ok()
    dropping.run("iptables", "-F", "CNI-FORWARD")
    guarded.check().expect_error(100)
    assert dropping.run("iptables", "-S", "CNI-FORWARD") == "-N CNI-FORWARD\n"
    assert before


def test_gc(dropping, container, spaces, folder):
    stale = Guarded(dropping, container, folder, ingressPolicy="isolated").add()
    valid = Guarded(dropping, spaces.new("v"), folder, cid="valid", ingressPolicy="isolated").add()
    config = stale.config(False)
    gc(dropping, config, None).expect_ok()
    stale.check().expect_ok()
    gc(dropping, config, [valid]).expect_ok()
    stale.check().expect_error(100)
    valid.check().expect_ok()
    gc(dropping, config, []).expect_ok()
    assert "CNI" not in dropping.run("iptables", "-S")
    for one in (stale, valid):
        one.delete()
    assert nft.ours(dropping) == []


def test_parallel_adds_and_dels(dropping, outside, spaces, folder):
    containers = [Guarded(dropping, spaces.new("p"), folder, "ptp", cid=f"p{n}") for n in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(Guarded.add, containers))
        assert len([l for l in dropping.run("iptables", "-S").splitlines() if l.startswith("-A")]) == 3
        for one in containers:
            one.check().expect_ok()
        assert answers(containers[7].container, outside, "198.18.0.2") == HOST
        list(pool.map(Guarded.delete, containers))
    assert nft.ours(dropping) == []
    assert "CNI" not in dropping.run("iptables", "-S")


def test_none_touches_nothing(host, container, folder):
    guarded = Guarded(host, container, folder).add()
    guarded.run("DEL").expect_ok()
    before = nft.text(host)
    config = guarded.config(backend="none")
    guarded.run("ADD", config).expect_ok()
    guarded.run("CHECK", config).expect_ok()
    assert nft.text(host) == before


def test_status(host):
    status(host, {"cniVersion": "1.1.0", "name": "wall", "type": "firewall"}).expect_ok()


@pytest.mark.parametrize("keys, word", [
    ({"backend": "firewalld"}, "firewalld"),
    ({"backend": "ebtables"}, "backend"),
    ({"backend": 5}, "backend"),
    ({"ingressPolicy": "closed"}, "ingressPolicy"),
    ({"ingressPolicy": True}, "ingressPolicy"),
    ({"dropInvalid": "yes"}, "dropInvalid"),
    ({"iptablesAdminChainName": "a" * 29}, "iptablesAdminChainName"),
    ({"iptablesAdminChainName": "-j"}, "iptablesAdminChainName"),
    ({"iptablesAdminChainName": "a b"}, "iptablesAdminChainName"),
    ({"iptablesAdminChainName": "FORWARD"}, "iptablesAdminChainName"),
    ({"iptablesAdminChainName": "forward"}, "iptablesAdminChainName"),
    ({"iptablesAdminChainName": "portmap_x"}, "iptablesAdminChainName"),
    ({"firewalldZone": 1}, "firewalldZone"),
])
def test_bad_values_are_refused_before_anything_happens(keys, word, host, container, folder):
    guarded = Guarded(host, container, folder).add()
    guarded.run("DEL").expect_ok()
    before = nft.text(host)
    guarded.run("ADD", guarded.config(**keys)).expect_error(7, word)
    assert nft.text(host) == before


def test_it_must_be_chained(host, container):
    config = {"cniVersion": "1.1.0", "name": "wall", "type": "firewall"}
    for verb in ("ADD", "CHECK"):
        execute(host, OURS, "firewall", verb, config, "c", container.path, "eth0").expect_error(7, "prevResult")


def test_a_policy_needs_an_interface_on_the_host(host, container, folder):
    guarded = Guarded(host, container, folder).add()
    guarded.result["interfaces"] = [i for i in guarded.result["interfaces"] if i.get("sandbox")]
    for ip in guarded.result["ips"]:
        ip["interface"] = 0
    guarded.run("ADD", guarded.config(ingressPolicy="same-bridge")).expect_error(7, "ingressPolicy")
