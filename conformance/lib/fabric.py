"""A cluster.Cluster whose nodes speak BGP, each through a BIRD of its own, to the router, which is a BIRD too."""
import os

from lib import bgp, cluster
from lib.cluster import V4, wait_until

ROUTER_AS = 64600


def router_config(nodes, password=None):
    secret = f'password "{password}"; ' if password else ""
    peers = "".join(f"""
protocol bgp {n.name} {{ local as {ROUTER_AS}; neighbor {n.addresses[V4]} as 64512; {secret}graceful restart on;
  ipv4 {{ import all; export all; next hop self; }}; }}""" for n in nodes)
    return f"""router id 198.18.1.1;
protocol device {{ }}
protocol direct {{ ipv4; interface "world"; }}
protocol kernel {{ ipv4 {{ export all; import none; }}; persist; }}
protocol static {{ ipv4; route 203.0.113.0/24 via 198.18.9.2; }}
{peers}
"""


def culvert(kind, name, **spec):
    return {"apiVersion": "culvert.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def peer_objects(**spec):
    for subnet, address in (("A", "198.18.1.1"), ("B", "198.18.2.1")):
        yield culvert("BGPPeer", f"tor-{subnet.lower()}", peerIP=address, asNumber=ROUTER_AS, nodeSelector=f"subnet == '{subnet}'", **spec)


def configuration(**spec):
    return culvert("BGPConfiguration", "default", **spec)


def build(spaces, folder, *objects, source="dir", password=None, settings=None, **options):
    one = cluster.Cluster(spaces, folder, (V4,), settings or {"encapsulation": "none"}, source=cluster.SOURCES[source], **options)
    one.birds = []
    for node in one.nodes:
        node.bird_folder = f"{node.folder}/bird"
        node.settings = {"bgp": {"enabled": True, "configFile": f"{node.bird_folder}/bird.conf", "socket": f"{node.bird_folder}/bird.ctl"}}
    try:
        one.start([configuration(), *objects] if objects and objects[0]["kind"] != "BGPConfiguration" else objects)
        for node in one.nodes:
            wait_until(lambda n=node: os.path.exists(f"{n.bird_folder}/bird.conf"), lambda n=node: f"{n.name} has no configuration\n{n.role()}\n{n.log()}")
            node.bird = bgp.Bird(node.ns, node.bird_folder)
            one.birds.append(node.bird)
        one.router_bird = bgp.Bird(one.router, f"{one.folder}/router-bird", router_config(one.nodes, password))
        one.birds.append(one.router_bird)
    except BaseException:
        close(one)
        raise
    return one


def close(one):
    for bird in one.birds:
        bird.end()
    one.close()


def peers(node):
    """Sessions by what they are with; none while BIRD does not answer."""
    return {peer["description"] or peer["name"]: peer for peer in (node.try_get("/v1/bgp") or {}).get("peers", [])}


def sessions(node):
    return {name: peer["state"] for name, peer in peers(node).items()}


def established(node):
    states = sessions(node)
    return states and all(state == "Established" for state in states.values())


def routes(ns):
    return ns.ip("route")


def learned(one):
    """From the nodes themselves: another node's word is only second best."""
    return all(f"{node.pods[V4]} via {node.addresses[V4]} " in routes(one.router) for node in one.nodes)
