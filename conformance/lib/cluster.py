"""A cluster in network namespaces: nodes on two subnets behind a router, a culvertd in each, pods through the CNI.

          outside 198.18.9.2
             |
          (router)---- 198.18.1.0/24, fd18:1::/64 ---- n1, n2
             |
             +-------- 198.18.2.0/24, fd18:2::/64 ---- n3

The router knows no pod: what it carries must be a node's, or in a tunnel.
"""
import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.error

from . import api_server, cni, kube_api, netns

BIN = os.environ.get("CULVERT_BIN_DIR", os.path.join(cni.ROOT, "build/release/bin"))
SUBNETS = {"A": ("198.18.1", "fd18:1:"), "B": ("198.18.2", "fd18:2:")}
OUTSIDE = ("198.18.9.2", "fd18:9::2")
V4, V6 = "4", "6"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def wait_until(condition, what, seconds=60.0, step=0.02):
    """Returns what `condition` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(step)


class Node:
    """A machine: a namespace, folders of its own, a culvertd."""

    def __init__(self, cluster, name, subnet, number):
        self.cluster, self.name, self.subnet, self.number = cluster, name, subnet, number
        self.folder = os.path.join(cluster.folder, name)
        os.makedirs(self.folder)
        self.ns = cluster.spaces.new(name)
        v4, v6 = SUBNETS[subnet]
        self.addresses = {V4: f"{v4}.{10 + number}", V6: f"{v6}:{10 + number:x}"}
        self.pods = {V4: f"10.244.{number}.0/24", V6: f"fd44:{number}::/64"}
        self.process, self.attached, self.settings, self.cni = None, [], {}, {}
        self.executable = f"{BIN}/culvertd"
        self.bin_dir = ""  # no plugins are installed: tests call the built ones
        self._wire()

    def _wire(self):
        router, end = self.cluster.router, f"to-{self.name}"
        self.ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", end, "netns", router.name)
        self.ns.ip("link", "set", "eth0", "address", f"02:00:00:00:00:{10 + self.number:02x}")  # also if it is made anew
        router.ip("link", "set", end, "master", f"sub{self.subnet}", "up")
        v4, v6 = SUBNETS[self.subnet]
        if V4 in self.cluster.families:
            self.ns.ip("address", "add", f"{self.addresses[V4]}/24", "dev", "eth0")
        if V6 in self.cluster.families:
            self.ns.ip("address", "add", f"{self.addresses[V6]}/64", "dev", "eth0", "nodad")
        self.ns.sysctl("net/ipv6/conf/eth0/accept_dad", 0)  # as after boot: no neighbour is looked for while an address is tentative
        self.ns.ip("link", "set", "eth0", "up")
        if V4 in self.cluster.families:
            self.ns.ip("route", "add", "default", "via", f"{v4}.1")
        if V6 in self.cluster.families:
            self.ns.ip("route", "add", "default", "via", f"{v6}:1")

    def object(self):
        """The Node object, as a kubelet would keep it."""
        families = self.cluster.families
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": {"subnet": self.subnet}},
                "spec": {"podCIDRs": [self.pods[f] for f in families]},
                "status": {"addresses": [{"type": "InternalIP", "address": self.addresses[f]} for f in families]}}

    def write_config(self):
        config = {"nodeName": self.name, "roles": ["routing", "cni"], "stateDir": f"{self.folder}/state",
                  "control": {"socket": self.socket}, "metrics": {"address": "127.0.0.1:9810"}, "health": {"address": ""},
                  "source": self.cluster.source.config(), "routing": {**self.cluster.settings, **self.settings},
                  "cni": {"confDir": f"{self.folder}/net.d", "binDir": self.bin_dir, "network": f"culvert-{self.name}", **self.cni}}
        path = os.path.join(self.folder, "culvertd.yaml")
        with open(path, "w") as f:
            json.dump(config, f, indent=1)  # which is YAML
        return path

    @property
    def socket(self):
        return f"{self.folder}/culvertd.sock"

    def start(self):
        config = self.write_config()
        with self.ns.enter(), open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([self.executable, "--config", config], stdout=log, stderr=log)

    def stop(self, kill=False):
        if self.process is None:
            return
        self.process.kill() if kill else self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        with open(f"{self.folder}/log") as f:
            return f.read()

    def get(self, path):
        connection = UnixConnection(self.socket)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def put(self, path, body, method="PUT"):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def metric(self, name):
        """The value of a metric without labels."""
        with self.ns.enter():
            connection = http.client.HTTPConnection("127.0.0.1", 9810, timeout=10)
            connection.connect()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def try_get(self, path):
        try:
            return self.get(path)
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def role(self, name="routing"):
        status = self.try_get("/v1/status") or {}
        return next((r for r in status.get("roles", []) if r.get("name") == name), None)

    def paths(self):
        """Network to the kind of path that leads there."""
        return {n: r["path"] for r in (self.try_get("/v1/routes") or {"routes": []})["routes"] for n in r["networks"]}

    def ready(self):
        role = self.role()
        return role is not None and role["state"] in ("ok", "degraded") and os.path.exists(self.conflist_path)

    @property
    def conflist_path(self):
        return f"{self.folder}/net.d/10-culvert.conflist"

    def pod(self, label="pod"):
        """A pod on this node, attached with the configuration that culvertd wrote."""
        with open(self.conflist_path) as f:
            written = json.load(f)
        entries = [(cni.OURS, entry) for entry in written["plugins"]]
        return Pod(self, label, cni.Conflist(self.ns, written["cniVersion"], written["name"], entries))

    def kernel(self):
        """What culvertd keeps in the kernel, for comparing two states of it."""
        routes = sorted(line for family in ("-4", "-6")
                        for line in self.ns.ip(family, "route", "show", "proto", "197").splitlines())
        nexthops = sorted(self.ns.ip("nexthop", "show", "proto", "197").splitlines())
        links = sorted((l["ifindex"], l["ifname"], l.get("mtu"), l.get("address"), json.dumps(l.get("linkinfo"), sort_keys=True))
                       for l in json.loads(self.ns.ip("-d", "-j", "link")) if l["ifname"].startswith(("culvert", "flannel")))
        fdb = sorted(self.ns.run("bridge", "fdb", "show", "brport", "none", check=False).splitlines())
        neighbours = sorted(self.ns.ip("neigh", "show", "nud", "permanent").splitlines())
        rules = self.ns.run("nft", "list", "table", "inet", "culvert_routing", check=False)
        rules = re.sub(r" # progname .*|\n\tflags .*\n", "", rules)  # whether a daemon runs
        return {"routes": routes, "nexthops": nexthops, "links": links, "fdb": fdb, "neighbours": neighbours, "nft": rules}

    def programmed(self):
        """All that culvertd programs, without what differs between two machines that are alike: numbers of interfaces, order."""
        ours = [l for l in json.loads(self.ns.ip("-d", "-j", "address")) if l.get("ifalias") == "culvert routing"]
        names = [l["ifname"] for l in ours]
        links = [{k: l.get(k) for k in ("ifname", "mtu", "address", "flags", "linkinfo")} for l in ours]
        addresses = [sorted((a["local"], a["prefixlen"]) for a in l["addr_info"]) for l in ours]
        sysctls = {f"{family}/{key}": self.ns.sysctl(f"net/{family}/{key}") for family, key in
                   [("ipv4", "ip_forward"), ("ipv6", "conf/all/forwarding"),
                    *(("ipv4", f"conf/{n}/rp_filter") for n in names), *(("ipv6", f"conf/{n}/accept_ra") for n in names)]}
        per_device = {n: sorted([*self.ns.run("bridge", "fdb", "show", "dev", n, check=False).splitlines(),
                                 *self.ns.ip("neigh", "show", "dev", n, "nud", "permanent", check=False).splitlines()]) for n in names}
        kernel = self.kernel()
        rules = re.sub(r"elements = \{([^}]*)\}", lambda m: str(sorted(e.strip() for e in m[1].split(","))), kernel["nft"])
        return {"links": links, "addresses": addresses, "sysctls": sysctls, "neighbours": per_device, "nft": rules,
                "routes": kernel["routes"], "nexthops": kernel["nexthops"]}


class Pod:
    def __init__(self, node, label, conflist):
        self.node, self.conflist = node, conflist
        self.ns = node.cluster.spaces.new(label)
        self.cid = cni.new_id("pod")
        result = conflist.add(self.cid, self.ns.path)
        self.addresses = {V6 if ":" in ip["address"] else V4: ip["address"].split("/")[0] for ip in result["ips"]}
        node.attached.append(self)

    def delete(self):
        self.conflist.delete(self.cid, self.ns.path)
        self.node.attached.remove(self)


class DirSource:
    """A folder of manifests."""
    name, suffix = "dir", "json"

    def __init__(self, cluster):
        self.folder = os.path.join(cluster.folder, "objects")
        os.makedirs(self.folder)

    def config(self):
        return {"type": "dir", "dir": {"path": self.folder}}

    def put(self, obj):
        path = self._path(obj)
        with open(path + ".tmp", "w") as f:
            json.dump(obj, f)
        os.rename(path + ".tmp", path)

    def remove(self, obj):
        os.unlink(self._path(obj))

    def _path(self, obj):
        return os.path.join(self.folder, f"{obj['kind'].lower()}-{obj['metadata']['name']}.{self.suffix}")

    def lose(self):
        """From now on no node can reach it."""
        os.rename(self.folder, self.folder + ".away")

    def regain(self, change=lambda: None):
        """They can again; what `change` does they have missed."""
        real, self.folder = self.folder, self.folder + ".away"
        change()
        self.folder = real
        os.rename(self.folder + ".away", self.folder)

    def stop(self):
        pass


def in_url(address):
    return f"[{address}]" if ":" in address else address


class Server:
    """A source behind the network: what `lose` and `regain` mean for it."""

    def lose(self):
        self._end()

    def regain(self, change=lambda: None):
        """Nodes are kept away from it until it has changed: they missed all of it."""
        self.ns.run("nft", "-f", "-", stdin="table inet apart { chain input { type filter hook input priority 0; "
                                            f"iifname {{ subA, subB }} tcp dport {self.port} drop; }}; }}")
        self._begin()
        change()
        self.ns.run("nft", "delete", "table", "inet", "apart")


class EtcdSource(Server):
    """A real etcd, in the router's namespace."""
    name, port = "etcd", 2379

    def __init__(self, cluster):
        self.ns, self.folder = cluster.router, os.path.join(cluster.folder, "etcd")
        self.url = f"http://{in_url(cluster.router_address)}:2379"
        self._begin()

    def _begin(self):
        with self.ns.enter(), open(self.folder + ".log", "ab") as log:
            self.process = subprocess.Popen(["/usr/bin/etcd", "--data-dir", self.folder, "--listen-client-urls", self.url,
                                             "--advertise-client-urls", self.url, "--listen-peer-urls", "http://127.0.0.1:2380",
                                             "--unsafe-no-fsync"], stdout=log, stderr=log)
        wait_until(lambda: '"ID"' in self._ctl("member", "list", "-w", "json", check=False), "etcd answers")

    def _ctl(self, *arguments, check=True, stdin=None):
        return self.ns.run("env", "ETCDCTL_API=3", "etcdctl", "--endpoints", self.url, *arguments, check=check, stdin=stdin)

    def config(self):
        return {"type": "etcd", "etcd": {"endpoints": [self.url]}}

    def put(self, obj):
        self._ctl("put", self._key(obj), stdin=json.dumps(obj))

    def remove(self, obj):
        self._ctl("del", self._key(obj))

    def exists(self, obj):
        return bool(self._ctl("get", "--keys-only", self._key(obj)).strip())

    def _key(self, obj):
        group = obj["apiVersion"].rpartition("/")[0] or "core"
        return f"/culvert/{group}/{obj['kind'].lower()}s/{obj['metadata']['name']}"

    def _end(self):
        self.process.kill()
        self.process.wait()

    stop = _end


class KubeSource(Server):
    """The API server of lib/kube_api.py, in the router's namespace."""
    name = "kubernetes"

    def __init__(self, cluster):
        self.ns, self.folder = cluster.router, os.path.join(cluster.folder, "kube")
        os.makedirs(self.folder)
        self.authority = api_server.Authority(self.folder)
        with self.ns.enter():
            self.api = kube_api.KubeApi(self.folder, self.authority, cluster.router_address)
        self.kubeconfig = os.path.join(self.folder, "kubeconfig")
        with open(self.kubeconfig, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "k", "cluster": {"server": self.api.url, "certificate-authority": self.authority.certificate}}],
                       "users": [{"name": "u", "user": {"token": kube_api.TOKEN}}],
                       "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]}, f)

    def config(self):
        return {"type": "kubernetes", "kubernetes": {"kubeconfig": self.kubeconfig}}

    def _path(self, obj):
        group = obj["apiVersion"]
        return f"/{'api' if '/' not in group else 'apis'}/{group}/{obj['kind'].lower()}s"

    def put(self, obj):
        with self.ns.enter():
            try:
                self.api.request("POST", self._path(obj), obj)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.api.request("PUT", f"{self._path(obj)}/{obj['metadata']['name']}", obj)

    def remove(self, obj):
        with self.ns.enter():
            self.api.request("DELETE", f"{self._path(obj)}/{obj['metadata']['name']}")

    def exists(self, obj):
        with self.ns.enter():
            try:
                return bool(self.api.request("GET", f"{self._path(obj)}/{obj['metadata']['name']}"))
            except urllib.error.HTTPError:
                return False

    @property
    def port(self):
        return self.api.config["port"]

    def _begin(self):
        with self.ns.enter():
            self.api.start()

    def _end(self):
        self.api.stop()

    def stop(self):
        self.api.kill()


SOURCES = {"dir": DirSource, "etcd": EtcdSource, "kubernetes": KubeSource}


class Cluster:
    def __init__(self, spaces, folder, families=(V4,), settings=None, source=DirSource, nodes=(("n1", "A"), ("n2", "A"), ("n3", "B"))):
        self.spaces, self.folder, self.families, self.settings = spaces, str(folder), families, settings or {}
        os.makedirs(self.folder, exist_ok=True)
        netns.empty_folders()
        self._build_fabric()
        self.router_address = "198.18.1.1" if V4 in families else "fd18:1::1"
        self.source = source(self)
        self.nodes = [Node(self, name, subnet, number) for number, (name, subnet) in enumerate(nodes, 1)]
        self.by_name = {node.name: node for node in self.nodes}

    def _build_fabric(self):
        self.router = self.spaces.new("router")
        self.outside = self.spaces.new("outside")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for subnet, (v4, v6) in SUBNETS.items():
            self.router.ip("link", "add", f"sub{subnet}", "type", "bridge", "mcast_snooping", "0")
            self.router.ip("address", "add", f"{v4}.1/24", "dev", f"sub{subnet}")
            self.router.ip("address", "add", f"{v6}:1/64", "dev", f"sub{subnet}", "nodad")
            self.router.sysctl(f"net/ipv6/conf/sub{subnet}/accept_dad", 0)
            self.router.ip("link", "set", f"sub{subnet}", "up")
        netns.join(self.router, self.outside, "world", "eth0", ["198.18.9.1/24", "fd18:9::1/64"], [f"{OUTSIDE[0]}/24", f"{OUTSIDE[1]}/64"])
        self.outside.ip("route", "add", "198.18.0.0/15", "via", "198.18.9.1")
        self.outside.ip("route", "add", "fd18::/16", "via", "fd18:9::1")

    def start(self, objects=()):
        for obj in [*objects, *(node.object() for node in self.nodes)]:
            self.source.put(obj)
        for node in self.nodes:
            node.start()
        self.wait()
        return self

    def wait(self):
        for node in self.nodes:
            wait_until(node.ready, lambda n=node: f"{n.name} is not ready: {n.role()}\n{n.log()[-2000:]}", seconds=60)  # the first one loads modules
        networks = {node.name: [node.pods[f] for f in self.families] for node in self.nodes}
        for node in self.nodes:
            others = {n for name, own in networks.items() if name != node.name for n in own}
            wait_until(lambda n=node, o=others: o <= set(n.paths()), lambda n=node: f"{n.name} lacks paths: {n.paths()}\n{n.log()[-2000:]}", seconds=60)

    def close(self):
        for node in self.nodes:
            for pod in list(node.attached):
                try:
                    pod.delete()
                except Exception:  # the namespaces go anyway
                    pass
            node.stop()
        self.source.stop()
