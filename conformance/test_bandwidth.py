"""bandwidth: rates that hold, with real traffic; what is shaped and what is not; and what CHECK must notice."""
import json
import subprocess
import time

import pytest

from lib import configs
from lib.cni import OURS, REFERENCE, Attachment, Conflist, execute

pytestmark = pytest.mark.netns

MBIT = 1_000_000
SECONDS = 5


def limits(**keys):
    return {"type": "bandwidth", **keys}


def chain(tmp_path, entry, plugins=OURS, base="ptp", version="1.0.0", **base_keys):
    make = {"ptp": configs.ptp, "bridge": configs.bridge}[base]
    first = {k: v for k, v in make(tmp_path, **base_keys).items() if k not in ("name", "cniVersion")}
    return lambda host: Conflist(host, version, "limited", [(plugins, first), (plugins, entry)])


class Iperf:
    """An iperf3 server in one namespace; rates are what the receiver got, in bit/s."""

    def __init__(self, server):
        self.server = server
        with server.enter():
            self.process = subprocess.Popen(["iperf3", "-s", "-p", "5201"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _listens(self):
        return ":5201" in self.server.run("ss", "-Hltn")

    def rate(self, client, address, seconds=SECONDS, reverse=False, udp=None):
        for _ in range(200):
            if self._listens():
                break
            time.sleep(0.02)
        options = ["-R"] if reverse else []
        options += ["-u", "-b", str(udp), "-l", "1400"] if udp else []
        out = client.run("iperf3", "-J", "-c", address, "-p", "5201", "-t", str(seconds), *options, timeout=seconds + 20)
        end = json.loads(out)["end"]
        received = end["sum"] if udp else end["sum_received"]
        return received["bits_per_second"] * (1 - received.get("lost_percent", 0) / 100 if udp else 1)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(outside):
    iperf = Iperf(outside)
    yield iperf
    iperf.close()


@pytest.fixture
def routed(host, outside):
    """The server beyond the uplink knows the way back to containers."""
    host.sysctl("net/ipv4/ip_forward", 1)
    host.sysctl("net/ipv6/conf/all/forwarding", 1)
    outside.ip("route", "add", "10.0.0.0/8", "via", "198.18.0.1")
    outside.ip("-6", "route", "add", "fd20::/16", "via", "fd18::1")


def within(rate, wanted, share=0.05):
    assert abs(rate / wanted - 1) <= share, f"{rate / MBIT:.2f} Mbit/s instead of {wanted / MBIT:.0f}"


@pytest.mark.parametrize("rate", [20 * MBIT, 100 * MBIT, 1000 * MBIT], ids=["20M", "100M", "1G"])
def test_tcp_gets_the_configured_rate_in_both_directions(rate, host, outside, container, server, routed, tmp_path, capsys):
    """Within 5 % over 5 s of iperf3, as the receiver sees it."""
    entry = limits(ingressRate=rate, ingressBurst=rate // 20, egressRate=rate, egressBurst=rate // 20)
    chain(tmp_path, entry)(host).add("limited", container.path)
    up, down = server.rate(container, "198.18.0.2"), server.rate(container, "198.18.0.2", reverse=True)
    with capsys.disabled():
        print(f"\n  bandwidth {rate / MBIT:.0f} Mbit/s: egress {up / MBIT:.2f} ({up / rate:.3f}), ingress {down / MBIT:.2f} ({down / rate:.3f})")
    within(up, rate)
    within(down, rate)


def test_ipv6_is_limited_too(host, outside, container, server, routed, tmp_path):
    entry = limits(ingressRate=20 * MBIT, egressRate=40 * MBIT)
    chain(tmp_path, entry, subnets=("fd20::/64",), routes=("::/0",))(host).add("limited", container.path)
    within(server.rate(container, "fd18::2", 3), 40 * MBIT, 0.08)
    within(server.rate(container, "fd18::2", 3, reverse=True), 20 * MBIT, 0.08)


def test_a_bridge_is_limited_too(host, outside, container, server, routed, tmp_path):
    chain(tmp_path, limits(egressRate=30 * MBIT), base="bridge")(host).add("limited", container.path)
    within(server.rate(container, "198.18.0.2", 3), 30 * MBIT, 0.08)


def test_only_one_direction_is_limited_when_only_one_is_asked_for(host, outside, container, server, routed, tmp_path):
    chain(tmp_path, limits(ingressRate=20 * MBIT, ingressBurst=2 * MBIT))(host).add("limited", container.path)
    within(server.rate(container, "198.18.0.2", 2, reverse=True), 20 * MBIT, 0.1)
    assert server.rate(container, "198.18.0.2", 2) > 200 * MBIT


def test_udp_above_the_rate_is_dropped_not_delayed_for_ever(host, outside, container, server, routed, tmp_path):
    chain(tmp_path, limits(egressRate=20 * MBIT, egressBurst=MBIT))(host).add("limited", container.path)
    within(server.rate(container, "198.18.0.2", 3, udp=60 * MBIT), 20 * MBIT, 0.1)


@pytest.mark.parametrize("key, shaped", [("shapedSubnets", False), ("unshapedSubnets", True)])
def test_subnets_say_what_is_shaped(key, shaped, host, outside, container, server, routed, tmp_path):
    """198.18.0.0/24 is listed: shaped only it, or all but it."""
    entry = limits(ingressRate=20 * MBIT, egressRate=20 * MBIT, **{key: ["198.18.0.0/24", "fd18::/64"]})
    lists = chain(tmp_path, entry, subnets=("10.30.0.0/24", "fd20::/64"), routes=("0.0.0.0/0", "::/0"))(host)
    lists.add("limited", container.path)
    lists.check("limited", container.path)
    outside.ip("address", "add", "203.0.113.2/32", "dev", "lo")
    host.ip("route", "add", "203.0.113.2/32", "via", "198.18.0.2")
    outside.ip("route", "change", "10.0.0.0/8", "via", "198.18.0.1")
    listed = [server.rate(container, a, 2, reverse) for a in ("198.18.0.2", "fd18::2") for reverse in (False, True)]
    other = [server.rate(container, "203.0.113.2", 2, reverse) for reverse in (False, True)]
    slow, fast = (other, listed) if shaped else (listed, other)
    for rate in slow:
        within(rate, 20 * MBIT, 0.12)
    assert min(fast) > 100 * MBIT
    lists.delete("limited", container.path)
    assert host.links() == ["uplink"]


def test_a_burst_passes_at_full_speed(host, outside, container, server, routed, tmp_path):
    """2 MB of burst at 8 Mbit/s: the first second carries much more than the rate."""
    chain(tmp_path, limits(egressRate=8 * MBIT, egressBurst=16 * MBIT))(host).add("limited", container.path)
    assert server.rate(container, "198.18.0.2", 1) > 16 * MBIT


def test_the_burst_that_runtimes_send_by_default_does_not_undo_the_limit(host, outside, container, server, routed, tmp_path):
    """containerd says MaxInt32 when nobody asked for a burst: 268 MB, 107 s at 20 Mbit/s."""
    entry = limits(capabilities={"bandwidth": True}, runtimeConfig={"bandwidth": {
        "ingressRate": 20 * MBIT, "ingressBurst": 2 ** 31 - 1, "egressRate": 20 * MBIT, "egressBurst": 2 ** 31 - 1}})
    chain(tmp_path, entry)(host).add("limited", container.path)
    within(server.rate(container, "198.18.0.2", 3), 20 * MBIT, 0.1)


def test_a_burst_smaller_than_a_packet_does_not_black_hole(host, outside, container, server, routed, tmp_path):
    chain(tmp_path, limits(egressRate=20 * MBIT, egressBurst=8))(host).add("limited", container.path)
    assert server.rate(container, "198.18.0.2", 2) > 10 * MBIT


def test_two_interfaces_of_one_container_are_limited_apart(host, spaces, container, tmp_path):
    """The reference gives both the same device, and the second ADD fails."""
    for ifname, rate in (("eth0", 10 * MBIT), ("net1", 20 * MBIT)):
        chain(tmp_path, limits(egressRate=rate), routes=())(host).add("same", container.path, ifname)
    assert len([l for l in host.links() if l.startswith("bwp")]) == 2


def test_nothing_is_done_when_no_limit_is_given(host, container, tmp_path):
    lists = chain(tmp_path, limits())(host)
    result = lists.add("free", container.path)
    lists.check("free", container.path)
    assert not [i for i in result["interfaces"] if i["name"].startswith("bwp")]
    lists.delete("free", container.path)


def test_without_limits_and_prev_result_is_an_error_not_a_crash(host, container):
    """The reference panics."""
    config = {"cniVersion": "1.0.0", "name": "n", "type": "bandwidth"}
    execute(host, OURS, "bandwidth", "ADD", config, "c", container.path, "eth0").expect_error(7, "prevResult")
    execute(host, OURS, "bandwidth", "DEL", config, "c", container.path, "eth0").expect_ok()


def added(host, container, tmp_path, **keys):
    base = Attachment(host, configs.ptp(tmp_path, "1.0.0", name="limited"), container)
    base.add()
    config = {"cniVersion": "1.0.0", "name": "limited", "prevResult": base.result, **limits(**keys)}
    attachment = Attachment(host, config, container, cid=base.cid)
    attachment.add()
    return attachment


BREAK = {
    "no shaper towards the container": lambda host, veth, ifb: host.run("tc", "qdisc", "del", "dev", veth, "root"),
    "no shaper from the container": lambda host, veth, ifb: host.run("tc", "qdisc", "del", "dev", ifb, "root"),
    "no detour": lambda host, veth, ifb: host.run("tc", "qdisc", "del", "dev", veth, "ingress"),
    "another rate": lambda host, veth, ifb: host.run("tc", "qdisc", "replace", "dev", ifb, "root", "handle", "1:", "tbf", "rate", "9mbit",
                                                     "burst", "100kb", "latency", "25ms"),
    "the device is down": lambda host, veth, ifb: host.ip("link", "set", ifb, "down"),
    "the device is gone": lambda host, veth, ifb: host.ip("link", "del", ifb),
}


@pytest.mark.parametrize("what", BREAK)
def test_check_notices(what, host, container, tmp_path):
    attachment = added(host, container, tmp_path, ingressRate=8 * MBIT, egressRate=8 * MBIT)
    attachment.check().expect_ok()
    ifb = next(n for n in host.links() if n.startswith("bwp"))
    veth = next(n for n in host.links() if n.startswith("veth"))
    BREAK[what](host, veth, ifb)
    attachment.check().expect_error(100)


def test_a_clsact_of_somebody_else_is_shared_and_stays(host, outside, container, server, routed, tmp_path):
    """eBPF programs of others sit there; the reference's ADD fails on it."""
    base = Attachment(host, configs.ptp(tmp_path, "1.0.0", name="limited"), container)
    base.add()
    host.run("tc", "qdisc", "add", "dev", base.host_veth, "clsact")
    config = {"cniVersion": "1.0.0", "name": "limited", "prevResult": base.result, **limits(egressRate=20 * MBIT)}
    attachment = Attachment(host, config, container, cid=base.cid)
    attachment.add()
    attachment.check().expect_ok()
    within(server.rate(container, "198.18.0.2", 3), 20 * MBIT, 0.1)
    attachment.delete().expect_ok()
    assert "clsact" in host.run("tc", "qdisc", "show", "dev", base.host_veth)
    assert host.run("tc", "filter", "show", "dev", base.host_veth, "ingress") == ""


def test_a_container_of_the_reference_is_freed_of_its_limits(host, container, tmp_path):
    """The device goes with our DEL, the rest with the veth."""
    entry = limits(ingressRate=8 * MBIT, ingressBurst=MBIT, egressRate=8 * MBIT, egressBurst=MBIT)
    theirs = chain(tmp_path, entry, REFERENCE)(host)
    theirs.add("moved", container.path)
    ours = Conflist(host, theirs.version, theirs.name, [(OURS, e) for _, e in theirs.entries])
    ours.result = theirs.result
    ours.check("moved", container.path)
    ours.delete("moved", container.path)
    assert host.links() == []


def test_behind_macvlan_there_is_nothing_to_limit_and_the_error_says_so(host, container):
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": container.path}], "ips": []}
    config = {"cniVersion": "1.0.0", "name": "n", "prevResult": previous, **limits(egressRate=MBIT)}
    outcome = execute(host, OURS, "bandwidth", "ADD", config, "c", container.path, "lo")
    outcome.expect_error(7, "veth")
    assert host.links() == []


def test_several_host_links_in_prev_result_do_not_confuse_it(host, container, tmp_path):
    base = Attachment(host, configs.bridge(tmp_path, "1.0.0", name="limited"), container)
    base.add()
    other = Attachment(host, configs.ptp(tmp_path, "1.0.0", name="limited"), container, cid=base.cid, ifname="net1")
    other.add()
    result = json.loads(json.dumps(base.result))
    result["interfaces"] = other.result["interfaces"][:1] + result["interfaces"]
    for ip in result["ips"]:
        ip["interface"] += 1
    config = {"cniVersion": "1.0.0", "name": "limited", "prevResult": result, **limits(ingressRate=MBIT)}
    Attachment(host, config, container, cid=base.cid).add()
    assert "tbf" in host.run("tc", "qdisc", "show", "dev", base.host_veth)
    assert "tbf" not in host.run("tc", "qdisc", "show", "dev", other.host_veth)
