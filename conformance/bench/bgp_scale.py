"""The part of ./dev bench routing about BGP: one node's culvertd and BIRD, and a second BIRD that is all the other nodes."""
import json
import re
import time

from lib import bgp, cluster, netns
from lib.cluster import V4, wait_until

OWN_BLOCK = "10.200.0.0/24"
EVENTS, A_SECOND = 500, 100
LIMIT = 5  # reloads in a second


def node_object(i):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"p{i:05}"}, "spec": {"podCIDRs": [bgp.peer_block(i)]},
            "status": {"addresses": [{"type": "InternalIP", "address": bgp.peer_address(i)}]}}


def configuration():
    return {"apiVersion": "culvert.dev/v1", "kind": "BGPConfiguration", "metadata": {"name": "default"}, "spec": {"meshMaxNodes": 5000}}


class Fabric:
    """n1 with culvertd and a BIRD, on one link with `count` peers, which are a BIRD in the router's namespace."""

    def __init__(self, spaces, folder, count):
        self.count = count
        self.cluster = cluster.Cluster(spaces, folder, (V4,), {"tunnelMode": "Always"}, nodes=(("n1", "A"),))
        self.peers, self.node = self.cluster.router, self.cluster.nodes[0]
        address = self.node.addresses[V4]
        self.node.ns.ip("address", "delete", f"{address}/24", "dev", "eth0")
        self.node.ns.ip("address", "add", f"{address}/16", "dev", "eth0")
        self.peers.run("ip", "-batch", "-", stdin="".join(f"address add {bgp.peer_address(i)}/32 dev subA\n" for i in range(count)))
        self.node.pods[V4] = OWN_BLOCK
        bird = f"{folder}/n1/bird"
        self.node.settings = {"bgp": {"enabled": True, "configFile": f"{bird}/bird.conf", "socket": f"{bird}/bird.ctl"}}
        for obj in (configuration(), self.node.object(), *map(node_object, range(count))):
            self.cluster.source.put(obj)
        self.others = bgp.Bird(self.peers, f"{folder}/peers", bgp.many_nodes(count, address))
        self.bird_folder, self.bird = bird, None

    def start(self):
        self.node.start()
        wait_until(self.has_configuration, self.node.log, seconds=30)
        self.bird = bgp.Bird(self.node.ns, self.bird_folder)

    def has_configuration(self):
        try:
            with open(f"{self.bird_folder}/bird.conf") as f:
                return bool(f.read())
        except FileNotFoundError:
            return False

    def up(self):
        """Whether each peer has told its route; culvertd says so."""
        sessions = (self.node.try_get("/v1/bgp") or {}).get("peers", [])
        return sum(s["state"] == "Established" and s["imported"] >= 1 for s in sessions) >= self.count

    def known(self):
        """In how many of the kernel tables that peers fill there is the node's block."""
        return self.peers.ip("route", "show", "table", "all", OWN_BLOCK).count("table")

    def await_up(self):
        began = time.monotonic()
        wait_until(self.up, lambda: json.dumps(self.node.role())[:2000], seconds=60, step=0.1)
        return time.monotonic() - began

    def facts(self):
        return self.node.role()["facts"]["bgp"]

    def close(self):
        for bird in (self.bird, self.others):
            if bird:
                bird.end()
        self.cluster.close()


def restart(fabric):
    """BIRD's: how long until all sessions are back, and what the peers have lost meanwhile."""
    wait_until(lambda: fabric.known() == bgp.IMPORTERS, fabric.known)
    withdrawals = bgp.Withdrawals(fabric.peers, OWN_BLOCK)
    began = time.monotonic()
    fabric.bird.restart()
    fabric.await_up()
    took = time.monotonic() - began
    time.sleep(5)  # the peers drop now what was not told again
    lost = len(withdrawals.end())
    assert fabric.known() == bgp.IMPORTERS
    return took, lost


def events(fabric):
    """Nodes that come, each of them a peer more: what that cost, and until BIRD had all of them."""
    before, began = fabric.facts()["reloads"], time.monotonic()
    for i in range(EVENTS):
        fabric.cluster.source.put(node_object(fabric.count + i))
        time.sleep(max(0.0, began + (i + 1) / A_SECOND - time.monotonic()))
    offered = EVENTS / (time.monotonic() - began)
    wait_until(lambda: (f := fabric.facts())["applied"] and f["sessions"] == fabric.count + EVENTS, lambda: str(fabric.facts()), seconds=30)
    took = time.monotonic() - began
    return offered, (fabric.facts()["reloads"] - before) / took


def resident(process):
    with open(f"/proc/{process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def rows(count, folder):
    spaces = netns.Namespaces()
    fabric = None
    try:
        fabric = Fabric(spaces, folder, count)
        began = time.monotonic()
        fabric.start()
        fabric.await_up()
        result = [(f"BGP: start of culvertd and BIRD to the routes of {count} peers", time.monotonic() - began, "s", None, None),
                  (f"BGP: resident memory of culvertd with {count} peers", resident(fabric.node.process), "MB", None, None),
                  (f"BGP: resident memory of BIRD with {count} peers", resident(fabric.bird.process), "MB", None, None)]
        took, lost = restart(fabric)
        result += [("BGP: BIRD's restart until all sessions are back", took, "s", None, None),
                   (f"BGP: routes withdrawn by it, at {bgp.IMPORTERS} of the peers", float(lost), "", "0", lost == 0)]
        offered, reloads = events(fabric)
        result += [(f"BGP: nodes that come in a second, {EVENTS} in all", offered, "/s", None, None),
                   ("BGP: reloads of BIRD in a second meanwhile", reloads, "/s", f"<= {LIMIT}", reloads <= LIMIT)]
        return result
    finally:
        if fabric:
            fabric.close()
        spaces.close()
