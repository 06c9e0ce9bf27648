"""The role `services` while its daemon is restarted and killed, others meddle with its table, or have tables of their own."""
import itertools
import socket

import pytest

from lib import pair, steady
from lib.cluster import wait_until
from lib.echo import TCP, UDP
from lib.pair import FAMILIES, NODE, POD, TERMINATING, V4, V6, backend, place, service, slices

pytestmark = pytest.mark.netns

ECHO = 9000
ENDPOINTS = ("b", "c", "d")
CLIENTS = ("a", "n1", "outside")
KINDS = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalIP")
STREAMS = 1000


@pytest.fixture
def two(spaces, tmp_path):
    one = pair.Pair(spaces, tmp_path / "pair")
    one.start()
    yield one
    one.close()


class Traffic:
    """Streams and requests from everywhere, to every kind of address of a Service with endpoints on both nodes."""

    def __init__(self, two):
        two.set(service(1), *slices(1, *ENDPOINTS, port=ECHO))
        self.parts = [steady.EchoServers([(two.spaces[pod], POD[pod][f], ECHO) for pod in ENDPOINTS for f in FAMILIES])]
        places = [place(kind, 1, f) for kind in KINDS for f in FAMILIES]
        sources = itertools.islice(itertools.cycle(itertools.product(CLIENTS, places)), STREAMS)
        try:
            self.parts.append(steady.Streams([self.connect(two.spaces[client], at) for client, at in sources]))
            self.parts += [steady.Requests(two.spaces[client], places, kind)
                           for client in ("a", "outside") for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        except BaseException:
            self.close()
            raise

    @staticmethod
    def connect(space, at):
        with space.enter():
            return socket.create_connection(at, timeout=steady.PATIENCE)

    def moves_on(self):
        for part in self.parts[1:]:
            part.move_on()

    def close(self):
        for part in reversed(self.parts):
            part.close()


@pytest.fixture
def traffic(two):
    made = Traffic(two)
    yield made
    made.close()


@pytest.mark.parametrize("kill", [False, True], ids=["restarted", "killed"])
def test_a_thousand_streams_outlive_the_daemon(two, traffic, kill):
    n1 = two.daemons["n1"]
    before = n1.table()
    for _ in range(3):
        n1.stop(kill)
        traffic.moves_on()
        assert n1.table() == before, "the daemon took something with it"
        n1.start()
        n1.await_ready()
        traffic.moves_on()
        assert n1.table() == before, "the new life changed something"


def test_streams_outlive_changes_to_other_endpoints_and_services(two, traffic):
    """Endpoints that go keep their connections; who stays is not moved. A pod that is going serves until its requests are answered:
    one that vanishes takes the datagram with it that is on its way to it."""
    leaving = slices(1, *ENDPOINTS, port=ECHO)
    for one in leaving:
        for endpoint in one["endpoints"][1:]:
            endpoint["conditions"] = TERMINATING
    two.set(service(1), *leaving)
    traffic.moves_on()
    two.set(service(1), *slices(1, "b", port=ECHO))
    traffic.moves_on()
    two.set(service(1), *slices(1, *ENDPOINTS, port=ECHO), service(2), *slices(2, "a"))
    traffic.moves_on()


def persists():
    """Whether the kernel keeps a table of which somebody is the owner (NFT_TABLE_F_PERSIST, 6.9)."""
    with open("/proc/sys/kernel/osrelease") as f:
        return tuple(int(n) for n in f.read().split("-")[0].split(".")[:2]) >= (6, 9)


@pytest.mark.skipif(not persists(), reason="before Linux 6.9 a table cannot be kept from others")
def test_streams_outlive_a_flush_of_the_ruleset(two, traffic):
    n1 = two.daemons["n1"]
    before = n1.table()
    for _ in range(3):
        two.spaces["n1"].run("nft", "flush", "ruleset", check=False)
        traffic.moves_on()
        assert n1.table() == before
    n1.stop(kill=True)
    n1.start()
    n1.await_ready()
    two.spaces["n1"].run("nft", "flush", "ruleset", check=False)
    traffic.moves_on()
    assert n1.table() == before, "the next life owns the table as well"


TABLE = "inet culvert_services"
DAMAGE = [
    f"delete element {TABLE} endpoints_ipv4 {{ 10.96.0.1 . tcp . 80 . 0 }}",
    f"delete element {TABLE} frontends_ipv4 {{ 10.96.0.1 . tcp . 80 }}",
    f"delete element {TABLE} node_addresses_ipv6 {{ {NODE['n1'][V6]} }}",
    f"add element {TABLE} rejected_ipv4 {{ 10.96.0.1 . tcp . 80 }}",
    f"add element {TABLE} frontends_ipv4 {{ 192.0.2.1 . tcp . 80 }}",
    f"flush map {TABLE} endpoints_ipv6",
    f"flush chain {TABLE} nat_prerouting",
    f"flush chain {TABLE} translate_ipv4",
    f"insert rule {TABLE} nat_prerouting drop",
    f"flush table {TABLE}",
    f"delete table {TABLE}",
    "flush ruleset",
]
KERNELS = ["this machine's", pytest.param("Debian's", marks=pytest.mark.vm)]


def every_way_works(two, endpoints=("b", "c")):
    for kind, client, f, protocol in itertools.product(KINDS, CLIENTS, FAMILIES, (TCP, UDP)):
        said = two.ask(client, *place(kind, 1, f), protocol)
        assert said[0] == "forward" and said[1] in {backend(pod, f) for pod in endpoints}, (kind, client, f, protocol, said)


def damages(two, command):
    """Whether it was let through."""
    said = two.spaces["n1"].run("sh", "-c", f"nft '{command}' 2>&1; echo $?", check=False)
    assert said == "0\n" or "Operation not permitted" in said, said
    return said == "0\n"


@pytest.mark.parametrize("kernel", KERNELS)
def test_nobody_else_harms_the_table(two, kernel):
    """A kernel with NFT_TABLE_F_PERSIST (6.9) refuses it; on others what is gone comes back within two seconds, measured generously."""
    two.set(service(1), *slices(1, "b", "c"))
    n1 = two.daemons["n1"]
    before = n1.table()
    for command in DAMAGE:
        damages(two, command)
        wait_until(lambda: n1.table() == before, lambda c=command: f"after {c}: {difference(before, n1.table())}\n{n1.log()[-1500:]}", seconds=10)
        every_way_works(two)


@pytest.mark.parametrize("command", DAMAGE)
def test_a_new_life_repairs_what_was_done_to_the_table_meanwhile(two, command):
    two.set(service(1), *slices(1, "b", "c"))
    n1 = two.daemons["n1"]
    before = n1.table()
    n1.stop(kill=True)
    assert damages(two, command), "nobody owns the table now"
    n1.start()
    n1.await_ready()
    assert n1.table() == before, difference(before, n1.table())
    every_way_works(two)


def difference(before, after):
    return {"missing": [line for line in before if line not in after], "foreign": [line for line in after if line not in before]}


# What else may be on a node. Each lets pass what is addressed to pods, as its administrator would see to.

FIREWALLD = """
table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain nat_PREROUTING { type nat hook prerouting priority dstnat + 10; policy accept; }
  chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; }
  chain filter_INPUT { type filter hook input priority filter + 10; policy drop;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    meta l4proto { icmp, ipv6-icmp } accept
    ct state invalid drop
  }
  chain filter_FORWARD { type filter hook forward priority filter + 10; policy drop;
    ct state { established, related } accept
    ct status dnat accept
    ct state invalid drop
    meta l4proto { icmp, ipv6-icmp } accept
    ip daddr { 10.1.0.0/16, 10.2.0.0/16 } accept
    ip6 daddr { fd01::/64, fd02::/64 } accept
  }
}
"""
DOCKER = """
-P FORWARD DROP
-N DOCKER
-N DOCKER-USER
-N DOCKER-ISOLATION-STAGE-1
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o apart -j DOCKER
-A DOCKER-USER -d 10.0.0.0/8 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o apart -j MASQUERADE
-t nat -A DOCKER ! -i apart -p tcp -m tcp --dport 8088 -j DNAT --to-destination 10.1.0.2:8080
"""
OWN = """
table inet mine {
  counter seen {
  }
  chain before { type nat hook prerouting priority dstnat; policy accept; tcp dport 8088 dnat ip to 10.1.0.2:8080
  }
  chain from_here { type nat hook output priority -100; policy accept; counter name seen
  }
  chain after { type nat hook postrouting priority srcnat; policy accept; counter name seen
  }
  chain through { type filter hook forward priority filter; policy accept; ct state invalid drop
  }
  chain into { type filter hook input priority filter; policy accept; counter name seen
  }
}
"""


def firewalld(node):
    node.run("nft", "-f", "-", stdin=FIREWALLD)


def docker(node):
    for line in DOCKER.strip().splitlines():
        node.run("iptables-nft", *line.split())


def own_table(node):
    node.run("nft", "-f", "-", stdin=OWN)


def others(node):
    """All that is in nf_tables but our table."""
    text = node.run("nft", "-s", "list", "ruleset")
    return [block for block in text.split("\ntable ") if "culvert_services" not in block.split("{")[0]]


@pytest.mark.parametrize("first", [True, False], ids=["there before", "comes later"])
@pytest.mark.parametrize("neighbour", [firewalld, docker, own_table])
def test_lives_beside(spaces, tmp_path, neighbour, first):
    two = pair.Pair(spaces, tmp_path / "pair")
    node = two.spaces["n1"]
    try:
        if first:
            neighbour(node)
        two.start().set(service(1), *slices(1, "b", "c"), service(2))
        if not first:
            neighbour(node)
        theirs, n1 = others(node), two.daemons["n1"]
        for kill in (False, True):
            every_way_works(two)
            for client, f in itertools.product(CLIENTS, FAMILIES):
                assert two.ask(client, *place("ClusterIP", 2, f)) == ("reject",)
            if neighbour is not firewalld:
                assert two.ask("outside", NODE["n1"][V4], 8088)[:2] == ("forward", backend("a", V4)), "theirs works as well"
            n1.stop(kill)
            n1.start()
            n1.await_ready()
        assert others(node) == theirs, "what is another's was touched"
    finally:
        two.close()
