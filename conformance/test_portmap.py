"""portmap: real packets to mapped ports, and what is left when the container goes."""
import concurrent.futures
import json
import socket
import struct

import pytest

from lib import configs, nft, traffic
from lib.cni import IS_REFERENCE, OURS, REFERENCE, Conflist, execute, gc, status

pytestmark = pytest.mark.netns

HOST, HOST6 = "198.18.0.1", "fd18::1"  # of the fixture `outside`
OWNERLESS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]


def mapping(host_port, container_port=80, protocol="tcp", host_ip=None, **more):
    return {"hostPort": host_port, "containerPort": container_port, "protocol": protocol,
            **({"hostIP": host_ip} if host_ip is not None else {}), **more}


def portmap(*mappings, **keys):
    return {"type": "portmap", "capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": list(mappings)}, **keys}


class Mapped:
    """A container behind an interface plugin and portmap."""

    def __init__(self, host, container, folder, *mappings, plugin="bridge", version="1.1.0", name="web", plugins=OURS,
                 subnets=("10.70.0.0/24", "fd70::/64"), cid="web-1", ifname="eth0", **keys):
        make = {"bridge": configs.bridge, "ptp": configs.ptp}[plugin]
        extra = {"bridge": f"br-{name}", "hairpinMode": True} if plugin == "bridge" else {}
        main = {k: v for k, v in make(folder / "ipam", version, name, subnets, ("0.0.0.0/0", "::/0"), ipMasq=True, **extra).items()
                if k not in ("name", "cniVersion")}
        self.own = portmap(*mappings, **keys)
        self.chain = Conflist(host, version, name, [(OURS, main), (plugins, self.own)])
        self.host, self.container, self.cid, self.ifname = host, container, cid, ifname

    def add(self):
        self.result = self.chain.add(self.cid, self.container.path, self.ifname)
        self.addresses = [ip["address"].split("/")[0] for ip in self.result["ips"]]
        self.v4, self.v6 = self.addresses[0], self.addresses[-1]
        return self

    def config(self, with_result=True, **keys):
        own = {**self.own, "cniVersion": self.chain.version, "name": self.chain.name, **keys}
        return {**own, "prevResult": self.result} if with_result else own

    def run(self, verb, config=None, **changes):
        given = dict(cid=self.cid, netns=self.container.path, ifname=self.ifname)
        return execute(self.host, OURS, "portmap", verb, self.config() if config is None else config, **{**given, **changes})

    def check(self):
        return self.run("CHECK")

    def delete(self):
        self.chain.delete(self.cid, self.container.path, self.ifname)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def reaches(source, mapped, address, port, inside=None, listen=80):
    """TCP from `source` to a port that leads to the container; the client's address as the container sees it."""
    with traffic.listener(mapped.container, inside or (mapped.v6 if ":" in address else mapped.v4), listen) as server:
        return traffic.connect(source, server, address, port)


# --- packets ------------------------------------------------------------------------------------

@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_a_port_is_reached_from_everywhere(plugin, host, outside, container, spaces, folder):
    """From outside, from the host by its own address and by localhost, from the container itself and from a neighbour."""
    mapped = Mapped(host, container, folder, mapping(8080), plugin=plugin).add()
    assert reaches(outside, mapped, HOST, 8080) == "198.18.0.2"      # the true client is seen
    assert reaches(outside, mapped, HOST6, 8080) == "fd18::2"
    assert reaches(host, mapped, HOST, 8080) == HOST
    assert reaches(host, mapped, HOST6, 8080)
    assert reaches(host, mapped, "127.0.0.1", 8080) not in ("127.0.0.1", mapped.v4)
    assert reaches(container, mapped, HOST, 8080) != mapped.v4        # hairpin: masqueraded
    assert reaches(container, mapped, HOST6, 8080) != mapped.v6
    neighbour = Mapped(host, spaces.new("n"), folder, plugin=plugin, cid="neighbour").add()
    assert reaches(neighbour.container, mapped, HOST, 8080) != neighbour.v4
    mapped.check().expect_ok()
    mapped.delete()
    neighbour.delete()
    assert nft.ours(host) == []


def test_what_is_not_mapped_is_not_touched(host, outside, container, folder):
    """A port of the host's own, and traffic that only passes through the host, go where they went before."""
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    assert traffic.reach(outside, host, HOST, 9090) == "198.18.0.2"
    assert traffic.reach(container, outside, "198.18.0.2", 8080) == HOST  # to port 8080 of somebody else
    assert traffic.refused_or_lost(outside, HOST, 8081)
    assert reaches(outside, mapped, HOST, 8080) == "198.18.0.2"


def test_direct_traffic_between_neighbours_keeps_its_source(host, outside, container, spaces, folder):
    """Only what came by the mapped port is masqueraded, not what goes to the same port of the container directly."""
    mapped = Mapped(host, container, folder, mapping(80), plugin="ptp").add()
    neighbour = Mapped(host, spaces.new("n"), folder, plugin="ptp", cid="neighbour").add()
    assert traffic.reach(neighbour.container, container, mapped.v4, 80) == neighbour.v4


def test_a_host_ip_limits_the_mapping(host, outside, container, folder):
    host.ip("address", "add", "198.18.0.7/24", "dev", "uplink")
    host.ip("address", "add", "fd18::7/64", "dev", "uplink", "nodad")
    mapped = Mapped(host, container, folder, mapping(8080, 80, "tcp", "198.18.0.7"), mapping(8443, 443, "tcp", "fd18::7")).add()
    assert reaches(outside, mapped, "198.18.0.7", 8080) == "198.18.0.2"
    assert reaches(container, mapped, "198.18.0.7", 8080) != mapped.v4
    assert traffic.refused_or_lost(outside, HOST, 8080)
    assert traffic.refused_or_lost(host, "127.0.0.1", 8080)
    assert reaches(outside, mapped, "fd18::7", 8443, listen=443) == "fd18::2"
    mapped.check().expect_ok()


def test_localhost_alone(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080, 80, "tcp", "127.0.0.1")).add()
    assert reaches(host, mapped, "127.0.0.1", 8080)
    assert traffic.refused_or_lost(outside, HOST, 8080)


def test_any_address_of_one_family(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080, 80, "tcp", "0.0.0.0"), mapping(8081, 80, "tcp", "::")).add()
    assert reaches(outside, mapped, HOST, 8080) and reaches(outside, mapped, HOST6, 8081)
    assert traffic.refused_or_lost(outside, HOST6, 8080) and traffic.refused_or_lost(outside, HOST, 8081)


def test_an_address_of_its_own_wins_over_any(host, outside, container, spaces, folder):
    host.ip("address", "add", "198.18.0.7/24", "dev", "uplink")
    everywhere = Mapped(host, container, folder, mapping(8080)).add()
    special = Mapped(host, spaces.new("s"), folder, mapping(8080, 80, "tcp", "198.18.0.7"), cid="special").add()
    assert reaches(outside, everywhere, HOST, 8080) and reaches(outside, special, "198.18.0.7", 8080)
    special.delete()
    assert reaches(outside, everywhere, "198.18.0.7", 8080)


@pytest.mark.parametrize("given", [mapping(8000, 9000, range=11), mapping("8000-8010", "9000-9010"), mapping("8000-8010", 9000)],
                         ids=["range", "two ranges", "one range"])
def test_ranges_of_ports(given, host, outside, container, folder):
    mapped = Mapped(host, container, folder, given).add()
    for offset in (0, 4, 10):
        assert reaches(outside, mapped, HOST, 8000 + offset, listen=9000 + offset) == "198.18.0.2"
    assert traffic.refused_or_lost(outside, HOST, 8011) and traffic.refused_or_lost(outside, HOST, 7999)
    mapped.check().expect_ok()
    mapped.delete()
    assert nft.ours(host) == []


def test_without_snat_localhost_stays_closed(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080), snat=False).add()
    assert reaches(outside, mapped, HOST, 8080) == "198.18.0.2"
    assert host.sysctl("net/ipv4/conf/br-web/route_localnet") == "0"
    assert traffic.refused_or_lost(host, "127.0.0.1", 8080)
    mapped.check().expect_ok()


def test_masq_all_hides_every_client(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080), masqAll=True).add()
    assert reaches(outside, mapped, HOST, 8080) == "10.70.0.1"
    assert reaches(outside, mapped, HOST6, 8080) != "fd18::2"
    assert reaches(container, mapped, HOST, 8080) == "10.70.0.1"
    assert reaches(host, mapped, "127.0.0.1", 8080)


def test_another_mark_bit(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080), markMasqBit=5).add()
    assert "0x00000020" in nft.text(host) and "0x00002000" not in nft.text(host)
    assert reaches(container, mapped, HOST, 8080) != mapped.v4
    mapped.check().expect_ok()


def test_loopback_addresses_are_not_reached_from_outside(host, outside, container, folder):
    """route_localnet opens 127.0.0.0/8 to the container's link; the filter closes it for everybody but the host."""
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    assert host.sysctl("net/ipv4/conf/br-web/route_localnet") == "1"
    container.sysctl("net/ipv4/conf/all/route_localnet", 1)
    container.ip("route", "add", "127.0.0.5/32", "via", "10.70.0.1", "src", mapped.v4)
    container.ip("rule", "add", "pref", "1", "to", "127.0.0.5", "lookup", "main")
    container.ip("rule", "del", "pref", "0")
    container.ip("rule", "add", "pref", "2", "lookup", "local")
    with traffic.datagrams(host, "127.0.0.5", 5353) as secret:
        with traffic.datagrams(container, mapped.v4, 0) as attacker:
            attacker.sendto(b"?", ("127.0.0.5", 5353))
        secret.settimeout(0.5)
        with pytest.raises(socket.timeout):
            secret.recv(16)
        nft.delete_elements(host, "inet", "br-web")  # without the filter it would have come: the test can fail
        with traffic.datagrams(container, mapped.v4, 0) as attacker:
            attacker.sendto(b"?", ("127.0.0.5", 5353))
        secret.settimeout(2)
        assert secret.recv(16) == b"?"
    mapped.check().expect_error(100, "127.0.0.0/8")


def test_route_localnet_is_taken_back_with_the_last_mapping(host, container, spaces, folder):
    first = Mapped(host, container, folder, mapping(8080)).add()
    second = Mapped(host, spaces.new("d"), folder, mapping(8081), cid="second").add()
    first.delete()
    assert host.sysctl("net/ipv4/conf/br-web/route_localnet") == "1"
    second.delete()
    assert host.sysctl("net/ipv4/conf/br-web/route_localnet") == "0"


def test_route_localnet_of_the_operator_stays(host, container, folder):
    host.ip("link", "add", "br-web", "type", "bridge")
    host.sysctl("net/ipv4/conf/br-web/route_localnet", 1)
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    mapped.delete()
    assert host.sysctl("net/ipv4/conf/br-web/route_localnet") == "1"


# --- UDP, SCTP -----------------------------------------------------------------------------------

def test_udp(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(5353, 53, "udp")).add()
    with traffic.datagrams(container, mapped.v4, 53) as server:
        for source, own, target in ((outside, "198.18.0.2", HOST), (host, "127.0.0.1", "127.0.0.1"), (container, mapped.v4, HOST)):
            with traffic.datagrams(source, own, 0) as client:
                traffic.ask(client, server, target, 5353)
    with traffic.datagrams(container, mapped.v6, 53) as server, traffic.datagrams(outside, "fd18::2", 0) as client:
        assert traffic.ask(client, server, HOST6, 5353) == "fd18::2"


def test_a_udp_client_that_never_pauses_finds_the_new_container(host, outside, container, spaces, folder):
    """Its flow would stick to the dead one for as long as it sends: conntrack is cleaned at ADD and at DEL."""
    with traffic.datagrams(outside, "198.18.0.2", 4444) as client, traffic.datagrams(outside, "fd18::2", 4444) as client6:
        client.sendto(b"early", (HOST, 5353))  # before there is a mapping: the flow goes to the host itself
        client6.sendto(b"early", (HOST6, 5353))
        old = Mapped(host, container, folder, mapping(5353, 53, "udp")).add()
        with traffic.datagrams(container, old.v4, 53) as server:
            traffic.ask(client, server, HOST, 5353)
        with traffic.datagrams(container, old.v6, 53) as server:
            traffic.ask(client6, server, HOST6, 5353)
        old.run("DEL").expect_ok()
        client.sendto(b"between", (HOST, 5353))
        client6.sendto(b"between", (HOST6, 5353))
        new = Mapped(host, spaces.new("new"), folder, mapping(5353, 53, "udp"), cid="new").add()
        with traffic.datagrams(new.container, new.v4, 53) as server:
            traffic.ask(client, server, HOST, 5353)
        with traffic.datagrams(new.container, new.v6, 53) as server:
            traffic.ask(client6, server, HOST6, 5353)


def test_other_udp_flows_are_left_alone(host, outside, container, spaces, folder):
    """A flow of another port, and one that only passes the host to the same port of somebody else."""
    first = Mapped(host, container, folder, mapping(5353, 53, "udp")).add()
    with traffic.datagrams(outside, "198.18.0.2", 4444) as client, traffic.datagrams(container, first.v4, 53) as server:
        traffic.ask(client, server, HOST, 5353)
        with traffic.datagrams(outside, "198.18.0.2", 6000) as beyond, traffic.datagrams(container, first.v4, 7000) as passing:
            traffic.ask(passing, beyond, "198.18.0.2", 6000)
            second = Mapped(host, spaces.new("s"), folder, mapping(6000, 60, "udp"), cid="second").add()
            flows = conntrack(host)
            assert any(f.startswith("udp 198.18.0.2:4444>198.18.0.1:5353") for f in flows)
            assert any(f.startswith(f"udp {first.v4}:7000>198.18.0.2:6000") for f in flows)
            second.delete()
            flows = conntrack(host)
            assert any(f.startswith("udp 198.18.0.2:4444>198.18.0.1:5353") for f in flows)
            assert any(f.startswith(f"udp {first.v4}:7000>198.18.0.2:6000") for f in flows)
        first.run("DEL").expect_ok()
        assert not any("198.18.0.1:5353" in f for f in conntrack(host))


def conntrack(ns):
    """"udp 10.0.0.1:5>10.0.0.2:6" of each IPv4 flow, read over ctnetlink."""
    with ns.enter():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    flows = []
    with sock:
        sock.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 1, 0x301, 1, 0, 2, 0, 0))
        while True:
            data = sock.recv(1 << 18)
            while data:
                length, type_ = struct.unpack_from("=IH", data)
                if type_ == 3:
                    return flows
                original = attribute(data[20:length], 1)
                ip, proto = attribute(original, 1), attribute(original, 2)
                name = {6: "tcp", 17: "udp"}.get(attribute(proto, 1)[0], "?")
                source, target = socket.inet_ntoa(attribute(ip, 1)), socket.inet_ntoa(attribute(ip, 2))
                ports = [struct.unpack("!H", attribute(proto, n)[:2])[0] if attribute(proto, n) else 0 for n in (2, 3)]
                flows.append(f"{name} {source}:{ports[0]}>{target}:{ports[1]}")
                data = data[(length + 3) & ~3:]


def attribute(data, wanted):
    while len(data) >= 4:
        length, type_ = struct.unpack_from("=HH", data)
        if type_ & 0x3FFF == wanted:
            return data[4:length]
        data = data[(length + 3) & ~3:]
    return b""


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_init(source_port, target_port):
    """An INIT chunk (RFC 9260 section 3.3.2), as the first packet of an association."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source_port, target_port, 0)
    return head + struct.pack("<I", crc32c(head + b"\0" * 4 + chunk)) + chunk


def test_sctp(host, outside, container, folder):
    """No SCTP sockets in this kernel are needed: the packet goes out of and into raw ones."""
    mapped = Mapped(host, container, folder, mapping(3868, 3869, "sctp")).add()
    with container.enter():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    with outside.enter():
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    with receiver, sender:
        receiver.bind((mapped.v4, 0))
        receiver.settimeout(2)
        sender.sendto(sctp_init(5000, 3868), (HOST, 0))
        packet = receiver.recv(200)
        assert struct.unpack_from("!HH", packet, 20) == (5000, 3869)


# --- several owners --------------------------------------------------------------------------------

def test_a_new_container_takes_a_port_over(host, outside, container, spaces, folder):
    """The runtime has given the port to the new one: the old one must be gone, though nobody said DEL."""
    dead = Mapped(host, container, folder, mapping(8080), mapping(8081)).add()
    alive = Mapped(host, spaces.new("n"), folder, mapping(8080), cid="alive").add()
    assert reaches(outside, alive, HOST, 8080)
    dead.check().expect_error(100, "belongs to another")
    dead.delete()  # late
    assert reaches(outside, alive, HOST, 8080)
    alive.check().expect_ok()
    alive.delete()
    assert nft.ours(host) == []


def test_two_networks_of_one_container(host, outside, container, folder):
    """Each has its own mappings; DEL of one leaves the other's."""
    one = Mapped(host, container, folder, mapping(8080), name="one", subnets=("10.71.0.0/24",), ifname="eth0").add()
    two = Mapped(host, container, folder, mapping(8081), name="two", subnets=("10.72.0.0/24",), ifname="net1",)
    two.chain.entries[0][1]["ipam"]["routes"] = [{"dst": "198.18.0.0/24"}]
    two.add()
    container.sysctl("net/ipv4/conf/all/rp_filter", 0)
    assert reaches(host, one, HOST, 8080) and reaches(host, two, HOST, 8081)
    one.run("DEL").expect_ok()
    assert traffic.refused_or_lost(host, HOST, 8080)
    assert reaches(host, two, HOST, 8081)
    two.check().expect_ok()
    two.delete()
    one.delete()
    assert nft.ours(host) == []


def test_conditions_of_two_networks_do_not_meet(host, outside, container, spaces, folder):
    """One network's ports are for 198.18.0.0/24 only, the other's for everybody else, and neither rewrites the other's."""
    near = Mapped(host, container, folder, mapping(8080), name="near", subnets=("10.71.0.0/24",),
                  conditionsV4=["-s", "198.18.0.0/24"]).add()
    far = Mapped(host, spaces.new("f"), folder, mapping(8080), name="far", subnets=("10.72.0.0/24",), cid="far",
                 conditionsV4=["ip saddr != 198.18.0.0/24"]).add()
    free = Mapped(host, spaces.new("g"), folder, mapping(8081), name="free", subnets=("10.73.0.0/24",), cid="free").add()
    assert reaches(outside, near, HOST, 8080) == "198.18.0.2"
    assert reaches(free.container, far, HOST, 8080)
    assert reaches(outside, free, HOST, 8081)
    for one in (near, far, free):
        one.check().expect_ok()
    far.delete()
    assert reaches(outside, near, HOST, 8080) == "198.18.0.2"
    gc(host, {**near.config(False)}, []).expect_ok()
    assert traffic.refused_or_lost(outside, HOST, 8080)
    assert reaches(outside, free, HOST, 8081)
    for one in (near, free):
        one.delete()
    assert nft.ours(host) == []


def test_parallel_adds_and_dels(host, outside, spaces, folder):
    containers = [Mapped(host, spaces.new("p"), folder, mapping(9000 + n), mapping(9500 + n, 53, "udp"), plugin="ptp", cid=f"p{n}")
                  for n in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(Mapped.add, containers))
        for n in (0, 7, 15):
            assert reaches(outside, containers[n], HOST, 9000 + n) == "198.18.0.2"
        for one in containers:
            one.check().expect_ok()
        list(pool.map(Mapped.delete, containers))
    assert nft.ours(host) == []


FOREIGN = """
table ip nat {
  chain PREROUTING { type nat hook prerouting priority -100; tcp dport 7777 dnat to 10.9.9.9
  }
}
table inet mine {
  set s { type ipv4_addr
    elements = { 10.0.0.1 }
  }
  chain c { type filter hook forward priority 5; counter comment "mine"
  }
}
"""


def test_foreign_rules_are_untouched(host, container, folder):
    host.run("nft", "-f", "-", stdin=FOREIGN)
    def rules():
        return host.run("nft", "-s", "list", "ruleset")  # without counts
    before = rules()
    mapped = Mapped(host, container, folder, mapping(8080), mapping(5353, 53, "udp")).add()
    assert rules().startswith(before)
    mapped.delete()
    assert rules() == before


def test_the_table_of_others_elements_stays(host, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    host.run("nft", "add", "chain", "inet", "culvert_cni", "operators")
    host.run("nft", "add", "rule", "inet", "culvert_cni", "operators", "counter")
    mapped.delete()
    assert "operators" in nft.text(host)


# --- verbs -----------------------------------------------------------------------------------------

def test_without_mappings_nothing_happens(host, container, folder, tools):
    """ADD passes the result on and does not even open a netfilter socket."""
    mapped = Mapped(host, container, folder).add()
    assert nft.tables(host) == [("inet", "culvert_cni")]  # of ipMasq
    trace = folder / "trace"
    execute(host, OURS, "portmap", "ADD", mapped.config(), "web-1", container.path, "eth0",
            wrapper=["strace", "-f", "-e", "trace=socket", "-o", str(trace)]).expect_ok()
    assert "NETFILTER" not in trace.read_text()
    mapped.check().expect_ok()
    mapped.delete()


def test_the_result_is_passed_on(host, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    alone = Mapped(host, container, folder)
    assert mapped.result["ips"] and len(mapped.result["interfaces"]) == 3
    assert mapped.run("ADD").expect_ok().json == mapped.result


def test_add_twice_is_add_once(host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    text = nft.text(host)
    mapped.run("ADD").expect_ok()
    assert sorted(nft.text(host).split()) == sorted(text.split())
    config = mapped.config()
    config["runtimeConfig"] = {"portMappings": [mapping(8082)]}
    mapped.run("ADD", config).expect_ok()
    assert traffic.refused_or_lost(outside, HOST, 8080)
    assert reaches(outside, mapped, HOST, 8082)


def test_del_needs_nothing_but_the_name(host, container, folder):
    """No namespace, no previous result, no mappings, conditions that nobody understands; and twice."""
    mapped = Mapped(host, container, folder, mapping(8080), mapping(5353, 53, "udp")).add()
    config = {"cniVersion": "1.1.0", "name": "web", "type": "portmap", "conditionsV4": ["nonsense"], "snat": 5}
    for _ in range(2):
        mapped.run("DEL", config, netns=None).expect_ok()
        assert "8080" not in nft.text(host)
    mapped.delete()


def break_map(host):
    return nft.delete_elements(host, "inet", "8080")


def break_source(host):
    host.run("nft", "flush", "set", "inet", "culvert_cni", "portmap_from_ipv4_8_13")


def break_rules(host):
    host.run("nft", "flush", "chain", "inet", "culvert_cni", "portmap")


def break_prerouting(host):
    host.run("nft", "flush", "chain", "inet", "culvert_cni", "portmap_prerouting")


def break_localnet(host):
    host.sysctl("net/ipv4/conf/br-web/route_localnet", 0)


def break_data(host):
    key = "inet culvert_cni portmap_ipv4".split()
    host.run("nft", "delete", "element", *key, "{ tcp . 8080 }")
    host.run("nft", "add", "element", *key, "{ tcp . 8080 : 10.9.9.9 . 80 }")


@pytest.mark.parametrize("damage", [break_map, break_source, break_rules, break_prerouting, break_localnet, break_data])
def test_check_misses_every_part(damage, host, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    mapped.check().expect_ok()
    damage(host)
    mapped.check().expect_error(100)


def test_check_wants_the_mappings_it_is_told(host, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080)).add()
    config = mapped.config(runtimeConfig={"portMappings": [mapping(8080), mapping(8081)]})
    mapped.run("CHECK", config).expect_error(100, "8081")


def test_gc_removes_what_is_not_valid(host, outside, container, spaces, folder):
    stale = Mapped(host, container, folder, mapping(8080), mapping(5353, 53, "udp")).add()
    valid = Mapped(host, spaces.new("v"), folder, mapping(8081), cid="valid").add()
    other = Mapped(host, spaces.new("o"), folder, mapping(8082), name="other", subnets=("10.75.0.0/24",), cid="other").add()
    config = stale.config(False)
    gc(host, config, None).expect_ok()
    assert reaches(outside, stale, HOST, 8080)
    with traffic.datagrams(outside, "198.18.0.2", 4444) as client, traffic.datagrams(container, stale.v4, 53) as server:
        traffic.ask(client, server, HOST, 5353)
    execute(host, OURS, "portmap", "GC", {**config, "cni.dev/valid-attachments": [{"containerID": "valid", "ifname": "eth0"}]}).expect_ok()
    assert traffic.refused_or_lost(outside, HOST, 8080)
    assert not any("198.18.0.1:5353" in f for f in conntrack(host))
    assert reaches(outside, valid, HOST, 8081) and reaches(outside, other, HOST, 8082)
    for one in (stale, valid, other):
        one.delete()
    assert nft.ours(host) == []


def test_status(host):
    status(host, {"cniVersion": "1.1.0", "name": "web", "type": "portmap"}).expect_ok()


# --- what is refused --------------------------------------------------------------------------------

@pytest.mark.parametrize("keys, word", [
    ({"runtimeConfig": {"portMappings": [mapping(0)]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [mapping(-1)]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [mapping(65536)]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [mapping(80, 0)]}}, "containerPort"),
    ({"runtimeConfig": {"portMappings": [mapping(80, 70000)]}}, "containerPort"),
    ({"runtimeConfig": {"portMappings": [{"containerPort": 80, "protocol": "tcp"}]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [{"hostPort": 80, "protocol": "tcp"}]}}, "containerPort"),
    ({"runtimeConfig": {"portMappings": [mapping(80, 80, "icmp")]}}, "protocol"),
    ({"runtimeConfig": {"portMappings": [mapping(80, 80, "tcp", "300.1.1.1")]}}, "hostIP"),
    ({"runtimeConfig": {"portMappings": [mapping("90-80", 80)]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [mapping("80-x", 80)]}}, "hostPort"),
    ({"runtimeConfig": {"portMappings": [mapping("80-90", "80-85")]}}, "containerPort"),
    ({"runtimeConfig": {"portMappings": [mapping(65530, 80, range=10)]}}, "65535"),
    ({"runtimeConfig": {"portMappings": [mapping(80, 80, range=-1)]}}, "range"),
    ({"runtimeConfig": {"portMappings": [mapping(8080, 80), mapping(8080, 81)]}}, "same port"),
    ({"runtimeConfig": {"portMappings": [mapping("8000-8010", 80), mapping(8005, 81)]}}, "same port"),
    ({"runtimeConfig": {"portMappings": "8080:80"}}, "portMappings"),
    ({"snat": "yes"}, "snat"),
    ({"masqAll": 1}, "masqAll"),
    ({"markMasqBit": 32}, "markMasqBit"),
    ({"markMasqBit": 5, "externalSetMarkChain": "KUBE-MARK-MASQ"}, "markMasqBit"),
    ({"backend": "ebtables"}, "backend"),
    ({"conditionsV4": ["-p", "tcp"]}, "conditionsV4"),
    ({"conditionsV4": ["-s", "fd00::/8"]}, "family"),
    ({"conditionsV6": ["-s", "10.0.0.0/8"]}, "family"),
    ({"conditionsV4": ["-s"]}, "missing"),
    ({"conditionsV4": ["ip", "saddr", "nonsense"]}, "nonsense"),
    ({"conditionsV4": ["-i", "a/b"]}, "interface"),
    ({"conditionsV4": ["-s", "10.0.0.0/8"], "backend": "nftables"}, "iptables"),
    ({"conditionsV4": ["ip saddr 10.0.0.0/8"], "backend": "iptables"}, "nft"),
])
def test_bad_values_are_refused_before_anything_happens(keys, word, host, container, folder):
    mapped = Mapped(host, container, folder).add()
    before = nft.text(host)
    own = {"runtimeConfig": {"portMappings": OWNERLESS}, **keys}
    mapped.run("ADD", mapped.config(**own)).expect_error(7, word)
    assert nft.text(host) == before


def test_it_must_be_chained(host, container):
    config = {"cniVersion": "1.1.0", "name": "web", **portmap(mapping(8080))}
    for verb in ("ADD", "CHECK"):
        execute(host, OURS, "portmap", verb, config, "c", container.path, "eth0").expect_error(7, "prevResult")


def test_a_result_without_interface_indexes(host, outside, container, folder):
    """prevResult of older plugins: the addresses are the container's."""
    mapped = Mapped(host, container, folder, mapping(8080))
    mapped.add()
    for ip in mapped.result["ips"]:
        del ip["interface"]
    mapped.run("ADD").expect_ok()
    assert reaches(outside, mapped, HOST, 8080)


@pytest.mark.parametrize("condition", [["-i", "uplink"], ["!", "-i", "lo"], ["iifname", "uplink"], ['iifname "upl*"'], ["-d", HOST],
                                       ["!", "-s", "10.0.0.0/8"], ["-s", "!", "10.0.0.0/8"], ["ip daddr " + HOST, "ip saddr 198.18.0.2"]], ids=" ".join)
def test_conditions_in_either_language(condition, host, outside, container, folder):
    mapped = Mapped(host, container, folder, mapping(8080), conditionsV4=condition).add()
    assert reaches(outside, mapped, HOST, 8080) == "198.18.0.2"
    assert reaches(outside, mapped, HOST6, 8080) == "fd18::2"  # conditionsV4 is about IPv4
    mapped.check().expect_ok()


@pytest.mark.parametrize("condition", [["-i", "other0"], ["-s", "10.0.0.0/8"], ["iifname", "!=", "uplink"], ["!", "-d", HOST]], ids=" ".join)
def test_conditions_that_do_not_match(condition, host, outside, container, folder):
    Mapped(host, container, folder, mapping(8080), conditionsV4=condition).add()
    assert traffic.refused_or_lost(outside, HOST, 8080)
