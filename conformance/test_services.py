"""The role `services`: what happens to real packets is what the daemon's evaluator says, for random Services."""
import random
import socket

import pytest

from lib import balance, cluster
from lib.balance import CLIENTS, NODE_ADDRESSES, NODE_OF, PORTS, slice_of
from lib.echo import UDP
from lib.pair import TERMINATING

pytestmark = pytest.mark.netns


@pytest.fixture
def balanced(spaces, tmp_path):
    one = balance.Balanced(spaces, tmp_path)
    one.start()
    yield one
    one.close()


class World:
    """Random Services and slices over few addresses, so that everything meets."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, options, at_most):
        return self.random.sample(options, self.random.randint(0, at_most))

    def chance(self, of):
        return self.random.randrange(of) == 0

    def service(self, number):
        v4, v6 = f"10.96.0.{number}", f"fd96::{number}"
        spec = {"clusterIPs": self.random.choice([[v4], [v6], [v4, v6]]),
                "ports": [{"name": "a", "port": 80, "nodePort": 30000 + number},
                          {"name": "b", "port": 80, "protocol": UDP, "nodePort": 30000 + number}],
                "externalIPs": self.some(["203.0.113.1", "203.0.113.2", "fd20::1"], 2)}
        for key in ("externalTrafficPolicy", "internalTrafficPolicy"):
            spec[key] = self.random.choice(["Cluster", "Local"])
        if self.chance(4):
            spec["sessionAffinity"] = "ClientIP"
        if self.chance(3):
            spec["loadBalancerSourceRanges"] = ["198.18.9.0/24", "fd18:9::/64"] if self.chance(2) else ["192.0.2.0/24", "2001:db8::/32"]
        ingress = [{"ip": ip} for ip in self.some(["203.0.113.11", "203.0.113.12", "fd20::11"], 2)]
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}", "namespace": "test"},
                "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}

    def endpoint(self, address):
        state = self.random.choice([{}, {}, {}, {"ready": False, "serving": False}, TERMINATING])
        return {"addresses": [address], "nodeName": NODE_OF[address], "conditions": state}

    def slices(self, number):
        ports = [{"name": "a", "port": self.random.choice(PORTS)},
                 {"name": "b", "port": self.random.choice(PORTS), "protocol": UDP}]
        for kind in ("IPv4", "IPv6"):
            mine = [a for a in NODE_OF if (":" in a) == (kind == "IPv6")]
            chosen = [self.endpoint(a) for a in self.some(mine, len(mine))]
            yield slice_of(f"s{number}-{kind.lower()}", f"s{number}", chosen, ports, kind)

    def objects(self):
        for number in range(1, 7):
            yield self.service(number)
            yield from self.slices(number)


def agree(balanced, client, address, port, protocol, attempts=3):
    """Compares what happens with what the evaluator says; returns the endpoints that were reached."""
    source = next(s for s in CLIENTS[client][1] if (":" in s) == (":" in address))
    told = balanced.trace(source, address, port, protocol)
    case = f"{client} {source} to {address} {port} {protocol}: {told}"
    assert told["from"] == client, case
    reached = set()
    for _ in range(attempts):
        happened = balanced.connect(client, address, port, protocol, timeout=0.4 if told["verdict"] == "drop" else 5)
        assert happened[0] == told["verdict"], f"{case}, but {happened}"
        if happened[0] == "drop":
            break  # waiting for nothing takes long
        if happened[0] == "forward":
            wanted = {e["endpoint"]: e["masquerade"] for e in told["endpoints"]}
            assert happened[1] in wanted, f"{case}, but {happened}"
            if client != "host":  # whose source is this node's anyway
                assert happened[2] == wanted[happened[1]], f"{case}, but {happened}"
            reached.add(happened[1])
    return reached


@pytest.mark.parametrize("seed", range(6))
def test_packets_go_where_the_evaluator_says(balanced, seed):
    balanced.set(list(World(seed).objects()))
    for row in balanced.get("/v1/services")["services"]:
        if row["service"] == "test/marker":
            continue
        addresses = NODE_ADDRESSES if row["address"] == "*" else [row["address"]]
        for address in addresses:
            if (":" in address) != (row["family"] == "IPv6"):
                continue
            for client in CLIENTS:
                agree(balanced, client, address, row["number"], row["protocol"])


def service(number=1, **spec):
    ports = [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 80, "protocol": UDP, "nodePort": 30080}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}", "namespace": "test"},
            "spec": {"clusterIPs": [f"10.96.0.{number}", f"fd96::{number}"], "ports": ports, **spec}}


def backed_by(*addresses, number=1, port=8080):
    ports = [{"name": "a", "port": port}, {"name": "b", "port": port, "protocol": UDP}]
    return [slice_of(f"s{number}-{kind}", f"s{number}", [{"addresses": [a], "nodeName": NODE_OF[a]} for a in addresses
                                                       if (":" in a) == (kind == "IPv6")], ports, kind)
            for kind in ("IPv4", "IPv6")]


@pytest.mark.parametrize("before, after", [("10.1.0.2", "10.1.0.3"), ("fd01::2", "fd01::3"), (None, "10.1.0.3"), ("10.1.0.2", "port")])
@pytest.mark.parametrize("to_node_port", [False, True], ids=["cluster IP", "node port"])
def test_a_udp_client_that_never_stops_gets_the_new_endpoint(balanced, before, after, to_node_port):
    six = "fd" in (before or "")
    address, port = (NODE_ADDRESSES[six], 30080) if to_node_port else (f"{'fd96::' if six else '10.96.0.'}1", 80)
    balanced.set([service(), *backed_by(*([before] if before else []))])
    with balanced.spaces["outside"].enter():
        client = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)

    def ask():
        client.sendto(b"?", (address, port))
        try:
            return client.recv(100).decode().split()[:2]
        except OSError as error:  # refused, or nobody answers
            return [type(error).__name__]

    with client:
        client.settimeout(0.3)
        for _ in range(3):
            answer = ask()
        assert answer == ([before, "8080"] if before else answer), "the client did not reach its first endpoint"
        balanced.set([service(), *(backed_by(before, port=8081) if after == "port" else backed_by(after))])
        wanted = [before, "8081"] if after == "port" else [after, "8080"]
        answers = [ask() for _ in range(3)]
        assert answers[-1] == wanted, answers


def test_affinity_lasts_and_ends_with_the_endpoint(balanced):
    endpoints = ["10.1.0.2", "10.1.0.3", *balance.ENDPOINTS["remote"][:4]]
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
    balanced.set([service(**sticky), *backed_by(*endpoints)])
    first = balanced.connect("outside", "10.96.0.1", 80)[1]
    for address, port in [("10.96.0.1", 80), (NODE_ADDRESSES[0], 30080)] * 5:
        assert balanced.connect("outside", address, port)[1] == first, "a client came to another endpoint"
    left = [e for e in endpoints if not first.startswith(e + ":")]
    balanced.set([service(**sticky), *backed_by(*left)])
    second = balanced.connect("outside", "10.96.0.1", 80)
    assert second[0] == "forward" and second[1] != first, f"{second}: the endpoint {first} is gone"
    balanced.set([service(), *backed_by(*left)])
    reached = {balanced.connect("outside", "10.96.0.1", 80)[1] for _ in range(40)}
    assert len(reached) > 1, "affinity goes when it is switched off"


def test_restart_and_kill_change_nothing(balanced):
    balanced.set(list(World(1).objects()))
    before = balanced.table()
    for lives, kill in ((2, False), (3, True)):
        balanced.stop(kill)
        assert balanced.table() == before, "the daemon took something with it"
        balanced.start()
        begun = cluster.wait_until(lambda: [line for line in balanced.log().splitlines() if "Services are programmed" in line][lives - 1:],
                                   balanced.log)
        assert "added=0 removed=0" in begun[0], f"the new life wrote what was there: {begun[0]}"
        assert balanced.table() == before
