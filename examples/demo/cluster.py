#!/usr/bin/python3
"""The demo of a cluster: three nodes on two subnets, from a folder of manifests or a real etcd, pods through the CNI.

Run through `sudo ./dev demo cluster [--source dir|etcd]`. Nodes are network namespaces; culvertd, the plugins and the packets are real.
"""
import argparse
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../conformance"))

from lib import cluster, netns, traffic  # noqa: E402
from lib.cluster import OUTSIDE, V4, V6  # noqa: E402

PICTURE = """
     n1           n2             n3        three nodes, culvertd on each
      |            |              |
   ===+============+===        ===+===     198.18.1.0/24 and 198.18.2.0/24
            |                     |
            +------ (router) -----+        which knows no pod
                       |
                    outside  198.18.9.2
"""


def verdict(reach):
    try:
        return "ok" if reach() else "WRONG"
    except (OSError, AssertionError):
        return "NO"


def matrix(one, family):
    """Rows: who asks; columns: who is asked. "ok": TCP both ways, and the pod's own address seen."""
    pods = [node.attached[0] for node in one.nodes]
    columns = [(f"pod on {n.name}", p.ns, p.addresses[family]) for n, p in zip(one.nodes, pods)]
    columns += [(n.name, n.ns, n.addresses[family]) for n in one.nodes] + [("outside", one.outside, OUTSIDE[0 if family == V4 else 1])]
    failures = 0
    print(f"  IPv{family:<13}" + "".join(f"{name:>11}" for name, _, _ in columns))
    for node, pod in zip(one.nodes, pods):
        row = []
        for name, target, address in columns:
            if target is pod.ns:
                row.append("-")
                continue
            wanted = pod.addresses[family] if name.startswith("pod") else None
            row.append(verdict(lambda: traffic.reach(pod.ns, target, address) == wanted if wanted else traffic.reach(pod.ns, target, address)))
        failures += sum(cell not in ("ok", "-") for cell in row)
        print(f"  pod on {node.name:<9}" + "".join(f"{cell:>11}" for cell in row), flush=True)
    print()
    return failures


def show_paths(one):
    print("  FROM  TO    PATH        NETWORKS                           WHY")
    for node in one.nodes:
        for route in node.get("/v1/routes")["routes"]:
            print(f"  {node.name:<5} {route['node']:<5} {route['path']:<11} {', '.join(route['networks']):<34} {route['why']}")
    print(flush=True)


def main():
    arguments = argparse.ArgumentParser(prog="./dev demo cluster")
    arguments.add_argument("--source", choices=["dir", "etcd"], default="dir")
    given = arguments.parse_args()
    netns.isolate()
    began = time.monotonic()
    print(PICTURE)
    spaces = netns.Namespaces()
    failures = 1
    with tempfile.TemporaryDirectory() as folder:
        one = cluster.Cluster(spaces, os.path.join(folder, "cluster"), (V4, V6), source=cluster.SOURCES[given.source])
        try:
            one.start()
            print("  Nodes come from " + ("a folder of manifests" if given.source == "dir" else "a real etcd") + "; each daemon has chosen its paths:\n")
            show_paths(one)
            for node in one.nodes:
                node.pod()
            failures = sum(matrix(one, family) for family in one.families)
        finally:
            one.close()
            spaces.close()
    seconds = time.monotonic() - began
    if failures:
        print(f"{failures} of these did not work.")
        return 1
    print(f"Everybody reaches everybody, in {seconds:.0f} s; the machine's own network was not touched.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
