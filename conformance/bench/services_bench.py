"""./dev bench services: the role `services` at scale, beside kube-proxy's layout loaded with nft on the same kernel.

    --services N    Services (default 10000)
    --endpoints N   endpoints of each (default 10)
    --only load|many|api|peer|latency|guest   (and `change`, which `guest` runs in Debian's own kernel)
"""
import argparse
import atexit
import json
import os
import re
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import kube_proxy_layout  # noqa: E402
from lib import cluster, netns, sources  # noqa: E402
from lib.cluster import wait_until  # noqa: E402

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["172.20.0.0/16"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "198.18.9.1"}]}}
ROUNDS = 15


# --- objects ------------------------------------------------------------------------------------------------------------------------

def cluster_ip(number):
    return f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}"


def ends_of(number, count):
    """Where a Service's endpoints listen; addresses of pods on some hundred nodes."""
    first = number * count
    return [(f"10.{1 + (first + i) // 65536 % 90}.{(first + i) // 256 % 256}.{(first + i) % 256}", 8080) for i in range(count)]


def service(number):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": f"service-{number}", "namespace": "bench", "uid": f"00000000-0000-0000-0000-{number:012}",
                         "labels": {"app": f"service-{number}"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": "ClusterIP", "clusterIP": cluster_ip(number), "clusterIPs": [cluster_ip(number)], "ipFamilies": ["IPv4"],
                     "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                     "selector": {"app": f"service-{number}"},
                     "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
            "status": {"loadBalancer": {}}}


def endpoint(ip, number):
    return {"addresses": [ip], "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"node-{number % 100}", "targetRef": {"kind": "Pod", "namespace": "bench", "name": f"pod-{ip}"}}


def endpoint_slice(number, ends):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"service-{number}-abcde", "namespace": "bench", "creationTimestamp": "2026-01-01T00:00:00Z",
                         "labels": {"kubernetes.io/service-name": f"service-{number}",
                                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": [endpoint(ip, i) for i, (ip, _) in enumerate(ends)]}


# --- the node -----------------------------------------------------------------------------------------------------------------------

class Folder:
    """Objects in a folder of manifests."""

    def __init__(self, space, folder):
        self.folder, self.objects = folder, f"{folder}/objects"
        os.makedirs(self.objects)
        self.source = {"type": "dir", "dir": {"path": self.objects}}

    def put(self, name, *objects):
        path = f"{self.objects}/{name}.json"
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects} if len(objects) != 1 else objects[0])
        with open(f"{self.folder}/new", "w") as f:
            f.write(text)
        os.rename(f"{self.folder}/new", path)

    def bytes(self):
        return sum(os.path.getsize(f"{self.objects}/{name}") for name in os.listdir(self.objects))

    def close(self):
        pass


class Api:
    """Objects in the test API server (lib/kube_api.py), which is written in Python."""

    def __init__(self, space, folder):
        self.space = space
        with space.enter():
            self.server = sources.Kubernetes(folder)
        self.source = {"type": "kubernetes", "kubernetes": {"kubeconfig": self.server.kubeconfig}}

    def put(self, name, *objects):
        with self.space.enter():
            if len(objects) == 1 and objects[0]["kind"] == "EndpointSlice" and self.exists(objects[0]):
                self.server.api.request("PUT", self.server.path(objects[0]), objects[0])
            else:
                self.server.api.control("fill", objects=objects)

    def exists(self, one):
        try:
            self.server.api.request("GET", self.server.path(one))
        except OSError:
            return False
        return True

    def read(self):
        """Seconds to read the lists, page by page as culvertd does, and to do nothing with them."""
        began = time.monotonic()
        with self.space.enter():
            for path in ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"):
                rest = ""
                while rest is not None:
                    page = self.server.api.request("GET", f"{path}?limit=500{rest}")
                    more = page["metadata"].get("continue")
                    rest = f"&continue={more}" if more else None
        return time.monotonic() - began

    def close(self):
        self.server.api.kill()


class Node:
    """A namespace with a culvertd in it that has only the role `services`."""

    LIST = 500  # objects in one file

    def __init__(self, spaces, folder, where=Folder):
        atexit.register(self.stop)
        self.folder = folder
        self.ns = spaces.new("node")
        self.process = None
        os.makedirs(folder, exist_ok=True)
        self.ns.ip("address", "add", "198.18.9.1/32", "dev", "lo")
        self.store = where(self.ns, folder)

    def fill(self, services, endpoints):
        """Services in lists, as `kubectl get -o json` writes them, and some slices in files of their own."""
        self.store.put("node", NODE)
        for first in range(0, services, self.LIST):
            some = range(first, min(first + self.LIST, services))
            self.store.put(f"services-{first}", *[service(n) for n in some])
            self.store.put(f"slices-{first}", *[endpoint_slice(n, ends_of(n, endpoints)) for n in some if n >= ROUNDS])
        for number in range(min(ROUNDS, services)):
            self.store.put(f"slice-{number}", endpoint_slice(number, ends_of(number, endpoints)))

    def start(self):
        config = {"nodeName": "n1", "roles": ["services"], "stateDir": f"{self.folder}/state",
                  "control": {"socket": f"{self.folder}/sock"}, "metrics": {"address": ""}, "health": {"address": ""},
                  "source": self.store.source}
        with open(f"{self.folder}/culvertd.yaml", "w") as f:
            json.dump(config, f)
        began = time.monotonic()
        with self.ns.enter(), open(f"{self.folder}/log", "w") as log:
            self.process = subprocess.Popen([f"{cluster.BIN}/culvertd", "--config", f"{self.folder}/culvertd.yaml"],
                                            stdout=log, stderr=log)
        wait_until(self.is_programmed, self.log, seconds=600, step=0.005)
        return time.monotonic() - began

    def log(self):
        with open(f"{self.folder}/log") as f:
            return f.read()

    def is_programmed(self):
        assert self.process.poll() is None, self.log()
        return "Services are programmed" in self.log()

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.process = None

    def status(self, key):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(rf"{key}:\s+(\d+)", f.read()).group(1)) / 1024

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def elements(self, name):
        text = self.ns.run("nft", "list", "map" if name.startswith("endpoints") else "set", "inet", "culvert_services", name, timeout=300)
        return text.count(". tcp .")

    def one_change(self, number, ends):
        """From before the slice is written until the kernel tells of the new element."""
        with self.ns.enter():
            events = Events()
        began = time.monotonic()
        self.store.put(f"slice-{number}", endpoint_slice(number, ends))
        events.wait()
        took = time.monotonic() - began
        events.close()
        return took


class Events:
    """Hears of new set elements from the kernel (NFNLGRP_NFTABLES)."""

    NEW_ELEMENT = 10 << 8 | 12  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 1 << 6))

    def wait(self):
        while select.select([self.socket], [], [], 20)[0]:
            if self.NEW_ELEMENT in self.types(self.socket.recv(65536)):
                return
        raise SystemExit("no element has come")

    @staticmethod
    def types(data):
        while data:
            length, kind = struct.unpack_from("IH", data)
            yield kind
            data = data[(length + 3) & ~3:]

    def close(self):
        self.socket.close()


class Rows(list):
    def add(self, what, seen, unit, bound=None):
        self.append((what, seen, unit, bound, None if bound is None else seen <= bound))

    def print(self):
        print(f"{'WHAT':<78} {'SEEN':>12}  {'BOUND':>12}")
        for what, seen, unit, bound, kept in self:
            limit = "" if bound is None else f"<= {bound:g}"
            print(f"{what:<78} {seen:>9.3f} {unit:<3} {limit:>12} {'' if bound is None else 'ok' if kept else 'MISSED'}")

    def failed(self):
        return any(row[4] is False for row in self)


# --- start, change, memory ------------------------------------------------------------------------------------------------------------

def load(rows, services, endpoints, bounds):
    spaces = netns.Namespaces()
    title = f"{services} Services x {endpoints}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            node = Node(spaces, folder)
            node.fill(services, endpoints)
            rows.add(f"{title}: objects in the folder", node.store.bytes() / 1e6, "MB")
            rows.add(f"{title}: start to last element", node.start(), "s", bounds[0])
            rows.add(f"{title}: of it CPU time of the daemon, kernel's part included", node.cpu(), "s")
            found = node.elements("endpoints_ipv4")
            assert found == services * endpoints, f"{found} endpoints in the kernel"
            time.sleep(1)
            rows.add(f"{title}: resident memory", node.status("VmRSS"), "MB", bounds[2])
            rows.add(f"{title}: resident memory, highest so far", node.status("VmHWM"), "MB")
            moved = [node.one_change(n, [("10.95.0.1", 8080), *ends_of(n, endpoints)[1:]]) for n in range(ROUNDS)]
            rows.add(f"{title}: one endpoint changed, file to kernel", statistics.median(moved) * 1000, "ms", bounds[1])
            more = [node.one_change(n, [("10.95.0.2", 8080), ("10.95.0.3", 8080), *ends_of(n, endpoints)[1:]]) for n in range(ROUNDS)]
            rows.add(f"{title}: one endpoint more, file to kernel", statistics.median(more) * 1000, "ms", bounds[1])
            node.stop()
            rows.add(f"{title}: restart, until it has compared everything", node.start(), "s")
            assert "added=0 removed=0" in node.log(), node.log()
            time.sleep(1)
            rows.add(f"{title}: resident memory after a restart", node.status("VmRSS"), "MB", bounds[2])
            node.stop()
    finally:
        spaces.close()


def api(rows, services, endpoints):
    """The same from an API server; its own part is most of it."""
    spaces = netns.Namespaces()
    title = f"{services} Services x {endpoints}, test API server"
    try:
        with tempfile.TemporaryDirectory() as folder:
            node = Node(spaces, folder, Api)
            try:
                node.fill(services, endpoints)
                rows.add(f"{title}: the lists read, and nothing done with them", node.store.read(), "s")
                rows.add(f"{title}: start to last element", node.start(), "s")
                rows.add(f"{title}: of it CPU time of the daemon, kernel's part included", node.cpu(), "s")
                found = node.elements("endpoints_ipv4")
                assert found == services * endpoints, f"{found} endpoints in the kernel"
                time.sleep(1)
                rows.add(f"{title}: resident memory", node.status("VmRSS"), "MB", 80)
                moved = [node.one_change(n, [("10.95.0.1", 8080), *ends_of(n, endpoints)[1:]]) for n in range(ROUNDS)]
                rows.add(f"{title}: one endpoint changed, GET and PUT by Python to kernel", statistics.median(moved) * 1000, "ms")
                node.stop()
            finally:
                node.store.close()
    finally:
        spaces.close()


def change(rows, services, endpoints):
    """One change in a full table, ours and kube-proxy's, on this kernel."""
    spaces = netns.Namespaces()
    try:
        with tempfile.TemporaryDirectory() as folder:
            node = Node(spaces, folder)
            node.fill(services, endpoints)
            rows.add("start to last element", node.start(), "s")
            moved = [node.one_change(n, [("10.95.0.1", 8080), *ends_of(n, endpoints)[1:]]) for n in range(5)]
            ours = statistics.median(moved)
            rows.add("one endpoint changed, file to kernel", ours * 1000, "ms")
            node.stop()
    finally:
        spaces.close()
    rows.add("against kube-proxy's layout", ours / kube_proxy(rows, services, endpoints), "x", 1.0)


def guest(rows, services, endpoints):
    """`change` under Debian's own kernel, in the virtual machine (an emulated processor)."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with tempfile.TemporaryDirectory() as out:
        environment = {**os.environ, "CULVERT_VM_TIMEOUT": "2400", "CULVERT_VM_MEMORY": "4096", "CULVERT_VM_OUT": out}
        done = subprocess.run([f"{top}/scripts/vm/run", "/usr/bin/python3", "-B", os.path.abspath(__file__), "--only", "change",
                               "--services", str(services), "--endpoints", str(endpoints), "--json", "/mnt/out/rows"],
                              env=environment, cwd=top)
        if not os.path.exists(f"{out}/rows"):
            raise SystemExit(f"the guest ended with status {done.returncode} and without figures")
        with open(f"{out}/rows") as f:
            rows.extend(("in the guest: " + what, *rest) for what, *rest in json.load(f))


def kube_proxy(rows, services, endpoints):
    """The same Services in kube-proxy's layout, by `nft -f`."""
    title = f"{services} Services x {endpoints}, kube-proxy's layout by nft"
    spaces = netns.Namespaces()
    try:
        with tempfile.TemporaryDirectory() as folder:
            ns = spaces.new("peer")
            with open(f"{folder}/rules", "w") as f:
                f.write(kube_proxy_layout.ruleset((cluster_ip(n), ends_of(n, endpoints)) for n in range(services)))
            began = time.monotonic()
            ns.run("nft", "-f", f"{folder}/rules", timeout=900)
            rows.add(f"{title}: load", time.monotonic() - began, "s")
            took = []
            for number in range(5):
                with open(f"{folder}/change", "w") as f:
                    f.write(kube_proxy_layout.change(cluster_ip(number), [("10.95.0.1", 8080), *ends_of(number, endpoints)[1:]]))
                began = time.monotonic()
                ns.run("nft", "-f", f"{folder}/change", timeout=300)
                took.append(time.monotonic() - began)
            rows.add(f"{title}: one endpoint changed", statistics.median(took) * 1000, "ms")
            return statistics.median(took)
    finally:
        spaces.close()


# --- new connections ------------------------------------------------------------------------------------------------------------------

class Path:
    """A client and a server behind a node; the server has all endpoints' addresses that are asked for."""

    def __init__(self, spaces, node):
        self.node, self.client, self.server = node, spaces.new("client"), spaces.new("server")
        node.sysctl("net/ipv4/ip_forward", 1)
        netns.join(node, self.client, "to-client", "eth0", ["172.20.0.1/30"], ["172.20.0.2/30"])
        netns.join(node, self.server, "to-server", "eth0", ["198.18.8.1/24"], ["198.18.8.2/24"])
        self.client.ip("route", "add", "default", "via", "172.20.0.1")
        self.server.ip("route", "add", "default", "via", "198.18.8.1")
        self.server.ip("route", "add", "local", "10.0.0.0/8", "dev", "lo")
        node.ip("route", "add", "10.0.0.0/8", "via", "198.18.8.2")
        with self.server.enter():
            self.listener = socket.create_server(("0.0.0.0", 8080), backlog=4096)

    def connect(self, number, times):
        """Microseconds of connect() to a Service, the median of `times`."""
        took = []
        with self.client.enter():
            for _ in range(times):
                with socket.socket() as one:
                    began = time.perf_counter()
                    one.connect((cluster_ip(number), 80))
                    took.append((time.perf_counter() - began) * 1e6)
                self.listener.accept()[0].close()
        return statistics.median(took)

    def close(self):
        self.listener.close()


def latency(rows, few=10, many=30000, peer_many=10000, endpoints=10, rounds=40):
    """connect() through our table with few and with many Services, and through kube-proxy's layout, by turns."""
    spaces = netns.Namespaces()
    paths, figures = {}, {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for count in (few, many):
                node = Node(spaces, f"{folder}/{count}")
                node.fill(count, endpoints)
                node.start()
                paths["ours", count] = Path(spaces, node.ns)
                node.stop()  # what it has programmed stays
            for count in (few, peer_many):
                peer = spaces.new("peer")
                with open(f"{folder}/rules", "w") as f:
                    f.write(kube_proxy_layout.ruleset((cluster_ip(n), ends_of(n, endpoints)) for n in range(count)))
                peer.run("nft", "-f", f"{folder}/rules", timeout=900)
                paths["kube-proxy's layout", count] = Path(spaces, peer)
            for name, path in paths.items():
                path.connect(5, 50)
                figures[name] = []
            for _ in range(rounds):
                for name, path in paths.items():
                    figures[name].append(path.connect(5, 50))
            for path in paths.values():
                path.close()
    finally:
        spaces.close()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for (who, count), value in medians.items():
        rows.add(f"connect() from a pod to a cluster IP: {who}, {count} Services", value, "us")
    rows.add(f"{many} Services against {few}", medians["ours", many] / medians["ours", few], "x", 1.10)
    best = min(value for (who, _), value in medians.items() if who != "ours")
    for count in (few, many):
        rows.add(f"{count} Services against the better of kube-proxy's layout", medians["ours", count] / best, "x", 1.0)


PARTS = {
    "load": lambda rows, given: load(rows, given.services, given.endpoints, (2, 5, 80)),
    "many": lambda rows, given: load(rows, 45000, 1, (4, 5, None)),
    "api": lambda rows, given: api(rows, given.services, given.endpoints),
    "peer": lambda rows, given: kube_proxy(rows, given.services, given.endpoints),
    "latency": lambda rows, given: latency(rows),
    "guest": lambda rows, given: guest(rows, given.services, given.endpoints),
}
INSIDE = {"change": lambda rows, given: change(rows, given.services, given.endpoints)}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--services", type=int, default=10000)
    arguments.add_argument("--endpoints", type=int, default=10)
    arguments.add_argument("--only", action="append", choices=[*PARTS, *INSIDE])
    arguments.add_argument("--json", help="a file for the figures")
    given = arguments.parse_args()
    netns.isolate()
    rows = Rows()
    for name, part in (PARTS | INSIDE).items():
        if name in (given.only or PARTS):
            part(rows, given)
    rows.print()
    if given.json:
        with open(given.json, "w") as f:
            json.dump(rows, f)
    return 1 if rows.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
