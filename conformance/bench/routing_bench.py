"""./dev bench routing: throughput against plain kernel routing in the same run, the daemon with thousands of nodes, BGP.

    --rounds N   alternating rounds of iperf3 (default 7)
    --nodes N    nodes in the source (default 5000)
    --peers N    BGP peers (default 1000)
    --only throughput|scale|bgp
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import bgp_scale  # noqa: E402
from lib import cluster, netns  # noqa: E402
from lib.cluster import V4, wait_until  # noqa: E402

SECONDS = 2


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--nodes", type=int, default=5000)
    arguments.add_argument("--peers", type=int, default=1000)
    arguments.add_argument("--only", choices=["throughput", "scale", "bgp"])
    given = arguments.parse_args()
    netns.isolate()
    rows = []
    if given.only in (None, "throughput"):
        rows += throughput(given.rounds)
    if given.only in (None, "scale"):
        rows += scale(given.nodes)
    if given.only in (None, "bgp"):
        with tempfile.TemporaryDirectory() as folder:
            rows += bgp_scale.rows(given.peers, f"{folder}/bgp")
    print_table(rows)
    return 0 if all(row[3] is None or row[4] for row in rows) else 1


def print_table(rows):
    print(f"{'WHAT':<66} {'SEEN':>12}  {'BOUND':>12}")
    for what, seen, unit, bound, kept in rows:
        print(f"{what:<66} {seen:>9.3f} {unit:<3} {bound or '':>12} {'' if bound is None else 'ok' if kept else 'MISSED'}")


# --- throughput ---------------------------------------------------------------------------------------------------------------------

def iperf(client, address):
    done = client.run("iperf3", "-c", address, "-t", str(SECONDS), "-J", timeout=SECONDS + 20)
    return json.loads(done)["end"]["sum_received"]["bits_per_second"] / 1e9


class Pair:
    """A pod on n1 and one on n3; iperf3 serves on the latter."""

    def __init__(self, label, client, server, address):
        self.label, self.client, self.address, self.figures = label, client, address, []
        with server.enter():
            self.server = subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)

    def round(self):
        self.figures.append(iperf(self.client, self.address))

    def median(self):
        return statistics.median(self.figures)

    def stop(self):
        self.server.terminate()
        self.server.wait()


def with_daemon(spaces, folder, label, settings):
    one = cluster.Cluster(spaces, folder, (V4,), settings, nodes=(("n1", "A"), ("n3", "A" if label == "host-gw" else "B")))
    one.start()
    a, b = one.nodes[0].pod(), one.nodes[1].pod()
    return one, Pair(label, a.ns, b.ns, b.addresses[V4])


def by_hand(spaces, folder, label, vxlan):
    """The same nodes and pods, with `ip` alone."""
    one = cluster.Cluster(spaces, folder, (V4,), nodes=(("n1", "A"), ("n3", "B" if vxlan else "A")))
    pods = []
    for node in one.nodes:
        pod = spaces.new("pod")
        node.ns.sysctl("net/ipv4/ip_forward", 1)
        gateway, address = node.pods[V4].replace(".0/24", ".1"), node.pods[V4].replace(".0/24", ".2")
        node.ns.ip("link", "add", "pod", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        node.ns.ip("address", "add", f"{gateway}/32", "dev", "pod")
        node.ns.ip("link", "set", "pod", "up")
        node.ns.ip("route", "add", f"{address}/32", "dev", "pod")
        pod.ip("address", "add", f"{address}/32", "dev", "eth0")
        pod.ip("link", "set", "eth0", "mtu", "1450" if vxlan else "1500", "up")
        pod.ip("route", "add", f"{gateway}/32", "dev", "eth0")
        pod.ip("route", "add", "default", "via", gateway)
        pods.append((pod, address))
    for node, peer in (one.nodes, one.nodes[::-1]):
        if not vxlan:
            node.ns.ip("route", "add", peer.pods[V4], "via", peer.addresses[V4])
            continue
        base = node.pods[V4].replace("/24", "/32")
        node.ns.ip("link", "add", "vx", "address", f"66:00:00:00:00:0{node.number}", "mtu", "1450", "type", "vxlan", "id", "1", "dev", "eth0",
                   "local", node.addresses[V4], "dstport", "8472", "nolearning")
        node.ns.ip("address", "add", base, "dev", "vx")
        node.ns.ip("link", "set", "vx", "up")
        there = peer.pods[V4].split("/")[0]
        mac = f"66:00:00:00:00:0{peer.number}"
        node.ns.ip("neigh", "add", there, "lladdr", mac, "dev", "vx", "nud", "permanent")
        node.ns.run("bridge", "fdb", "append", mac, "dev", "vx", "dst", peer.addresses[V4])
        node.ns.ip("route", "add", peer.pods[V4], "via", there, "dev", "vx", "onlink")
    return one, Pair(label, pods[0][0], pods[1][0], pods[1][1])


def throughput(rounds):
    spaces = netns.Namespaces()
    clusters, pairs = [], {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for label, build in (("plain", lambda f: by_hand(spaces, f, "plain", False)),
                                 ("host-gw", lambda f: with_daemon(spaces, f, "host-gw", {"encapsulation": "none"})),
                                 ("vxlan by hand", lambda f: by_hand(spaces, f, "vxlan by hand", True)),
                                 ("vxlan-l3", lambda f: with_daemon(spaces, f, "vxlan-l3", {"tunnelMode": "Always"})),
                                 ("vxlan", lambda f: with_daemon(spaces, f, "vxlan", {"encapsulation": "vxlan", "tunnelMode": "Always"}))):
                one, pairs[label] = build(os.path.join(folder, label.replace(" ", "-")))
                clusters.append(one)
            for _ in range(rounds):
                for pair in pairs.values():
                    pair.round()
            for pair in pairs.values():
                pair.stop()
            for one in clusters:
                one.close()
    finally:
        spaces.close()
    figures = {label: pair.median() for label, pair in pairs.items()}
    rows = [(f"TCP between pods on two nodes, {label}", value, "Gb/s", None, None) for label, value in figures.items()]
    direct, l3 = figures["host-gw"] / figures["plain"], figures["vxlan-l3"] / figures["vxlan by hand"]
    rows.append(("host-gw against plain routing", direct, "x", ">= 0.97", direct >= 0.97))
    rows.append(("vxlan-l3 against classic VXLAN by hand", l3, "x", ">= 1.00", l3 >= 1.0))
    return rows


# --- thousands of nodes ---------------------------------------------------------------------------------------------------------------

def peer_object(number, endpoint_shift=0):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"peer-{number:05}", "labels": {"kubernetes.io/hostname": f"peer-{number:05}"}},
            "spec": {"podCIDRs": [f"10.{number // 256}.{number % 256}.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"198.19.{(number + endpoint_shift) // 250}.{(number + endpoint_shift) % 250 + 1}"}]}}


def routes(node):
    return node.ns.ip("route", "show", "proto", "197").count("nhid")


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def switches(pid):
    with open(f"/proc/{pid}/status") as f:
        return sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", f.read()))


def start_time(node, count):
    began = time.monotonic()
    node.start()
    wait_until(lambda: routes(node) >= count, lambda: f"{routes(node)} routes\n{node.log()[-1000:]}", seconds=120, step=0.01)
    return time.monotonic() - began


def forget(node):
    """As after a boot: nothing in the kernel, nothing on disk."""
    node.stop()
    node.ns.ip("link", "delete", "culvert-l3")
    node.ns.run("nft", "delete", "table", "inet", "culvert_routing")
    shutil.rmtree(f"{node.folder}/state", ignore_errors=True)


def scale(count):
    spaces = netns.Namespaces()
    try:
        with tempfile.TemporaryDirectory() as folder:
            one = cluster.Cluster(spaces, folder + "/scale", (V4,), {"tunnelMode": "Always"}, nodes=(("n1", "A"),))
            node = one.nodes[0]
            node.pods[V4] = "10.200.0.0/24"
            one.source.put(node.object())
            for number in range(count):
                one.source.put(peer_object(number))
            first = start_time(node, count)
            rows = [(f"{count} nodes in a folder (JSON): start to last route", first, "s", "< 2", first < 2)]
            kernel = node.metric("culvert_routing_pass_seconds_sum")
            rows.append(("of it planning and kernel", kernel, "s", "< 0.5", kernel < 0.5))
            rss = resident(node.process.pid)
            rows.append(("resident memory", rss, "MB", "< 40", rss < 40))
            change = statistics.median(one_change(one, node, count, n) for n in range(9))
            rows.append(("one node's change, from its file to the kernel", change * 1000, "ms", "< 20", change < 0.02))
            time.sleep(7)  # the state file is written
            before = switches(node.process.pid)
            time.sleep(10)
            woken = switches(node.process.pid) - before
            rows.append(("times the daemon ran in 10 s without events", float(woken), "", "0", woken == 0))
            forget(node)
            for name in os.listdir(one.source.folder):
                os.rename(f"{one.source.folder}/{name}", f"{one.source.folder}/{name.replace('.json', '.yaml')}")
            rows.append((f"{count} nodes in a folder (YAML): start to last route", start_time(node, count), "s", None, None))
            one.close()
            return rows
    finally:
        spaces.close()


def one_change(one, node, count, number):
    """A monitor is listening before the file is replaced; the time is that of its first line."""
    with node.ns.enter():
        monitor = subprocess.Popen(["ip", "monitor", "nexthop"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    began = time.monotonic()
    one.source.put(peer_object(number, endpoint_shift=count + 1))
    monitor.stdout.readline()
    took = time.monotonic() - began
    monitor.terminate()
    monitor.wait()
    return took


if __name__ == "__main__":
    sys.exit(main())
