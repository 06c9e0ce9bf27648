"""Nodes with a real BIRD each, a GoBGP router, and `culvertctl bgp` between them."""
import copy
import datetime
import json
import os
import signal
import subprocess
import time

from lib import daemon

BIRD = "/usr/sbin/bird"


def until(what, seconds=30, every=0.1):
    """The first true value of what() within the time; its last one after that."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def same_time(one, other):
    """BIRD derives `since` from two clocks: the last digit varies."""
    return abs((datetime.datetime.fromisoformat(one) - datetime.datetime.fromisoformat(other)).total_seconds()) < 0.1


def call(*arguments, stdin=None, check=True):
    """`culvertctl bgp`."""
    done = subprocess.run([daemon.CULVERTCTL, "bgp", *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"culvertctl bgp {' '.join(arguments)}: {done.stderr}")
    return done


def applier(socket, config):
    """`culvertctl bgp apply`, which is told inputs, one a line, and says states."""
    return subprocess.Popen([daemon.CULVERTCTL, "bgp", "apply", socket, config], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def resource(name, **spec):
    return {"metadata": {"name": name}, "spec": spec}


IMPORTERS = 10  # of many peers, how many keep what they are told
FIRST_TABLE = 100


def peer_address(i):
    return f"198.18.{4 + i // 250}.{i % 250 + 1}"


def peer_block(i):
    return f"10.{244 + i // 1024}.{i // 4 % 256}.{i % 4 * 64}/26"


def many_nodes(count, node):
    """The configuration of one BIRD that is `count` nodes which `node` (an address) connects to, each with an address and a
    block of its own; the first IMPORTERS put what they are told into kernel tables from FIRST_TABLE on. BIRD has one
    session per remote address and port: the (unused) ports differ."""
    text = "router id 198.18.255.254;\nlog stderr { error, fatal, bug };\nprotocol device {}\nprotocol direct { ipv4; }\n"
    for i in range(count):
        name = f"t{i}" if i < IMPORTERS else "master4"
        if i < IMPORTERS:
            text += (f"ipv4 table {name};\nprotocol kernel {{ kernel table {FIRST_TABLE + i};"
                     f" ipv4 {{ table {name}; import none; export where source = RTS_BGP; }}; }}\n"
                     f"protocol static {{ ipv4 {{ table {name}; }}; route {peer_block(i)} blackhole; }}\n")
        text += (f"protocol bgp p{i} {{ local {peer_address(i)} as 64512; strict bind on; multihop; passive on;"
                 f" neighbor {node} port {2000 + i} as 64512; graceful restart on; connect delay time 1;"
                 f" ipv4 {{ table {name}; igp table master4; import {'all' if i < IMPORTERS else 'none'};"
                 f" export where net = {peer_block(i)}; }}; }}\n")
    blocks = "".join(f"route {peer_block(i)} blackhole;" for i in range(IMPORTERS, count))
    return text + f"protocol static {{ ipv4; {blocks} }}\n"


class Withdrawals:
    """How often the kernel of `ns` has lost a route to `prefix`, in any table, since this began."""

    def __init__(self, ns, prefix):
        self.prefix = prefix
        with ns.enter():
            self.process = subprocess.Popen(["ip", "monitor", "route"], stdout=subprocess.PIPE, text=True)

    def end(self):
        self.process.terminate()
        return [line for line in self.process.communicate()[0].splitlines() if line.startswith(f"Deleted {self.prefix} ")]


class Bird:
    """A BIRD in a namespace, with the configuration given or the one that is in `folder`."""

    def __init__(self, ns, folder, config=None):
        self.ns, self.folder = ns, str(folder)
        os.makedirs(folder, exist_ok=True)
        self.file, self.socket = f"{folder}/bird.conf", f"{folder}/bird.ctl"
        if config is not None:
            with open(self.file, "w") as f:
                f.write(config)
        self.process = None
        self.start()

    def start(self):
        with self.ns.enter(), open(f"{self.folder}/bird.log", "ab") as log:
            self.process = subprocess.Popen([BIRD, "-f", "-R", "-c", self.file, "-s", self.socket], stdout=log, stderr=log)

    def restart(self):
        """As culvert-bird.service does it."""
        call("restart", self.socket)
        self.process.wait(30)
        self.start()

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()


class Cluster:
    """An input of `culvertctl bgp render` without thisNode; change it, then apply() it to nodes."""

    def __init__(self):
        self.input = {"nodes": [], "configurations": [], "peers": [], "filters": [], "services": [],
                      "clusterPrefixes": ["10.244.0.0/16", "fd10:244::/48"], "passwords": {}}

    def of(self, name):
        return {"thisNode": name, **copy.deepcopy(self.input)}


class Node:
    """A namespace on the fabric's link, and its BIRD."""

    def __init__(self, spaces, folder, switch, number):
        self.name = f"n{number}"
        self.number = number
        self.ns = spaces.new(self.name)
        self.folder = os.path.join(folder, self.name)
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "bird.conf")
        self.socket = os.path.join(self.folder, "bird.ctl")
        self.bird = None
        self.ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", self.name, "netns", switch.name)
        switch.ip("link", "set", self.name, "up", "master", "br0")
        self.ns.ip("address", "add", f"198.18.0.{number}/24", "dev", "eth0")
        self.ns.ip("address", "add", f"fd18::{number}/64", "dev", "eth0", "nodad")
        self.ns.ip("link", "set", "eth0", "up")

    def facts(self):
        return {"name": self.name, "ipv4": f"198.18.0.{self.number}/24", "podBlocks": [self.block()]}

    def block(self):
        return f"10.244.{self.number}.0/26"

    def start(self, given=None, recover=False):
        """BIRD, with the configuration of `given` or the one that is there."""
        text = None if given is None else call("render", stdin=json.dumps(given)).stdout
        self.start_text(text, recover)

    def start_text(self, text, recover=False):
        if text is not None:
            with open(os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                f.write(text)
        with self.ns.enter():
            self.bird = subprocess.Popen([BIRD, "-f", "-c", self.config, "-s", self.socket, "-P", self.socket + ".pid",
                                          *(["-R"] if recover else [])], stderr=open(self.config + ".log", "a"))
        assert until(lambda: os.path.exists(self.socket), 5), open(self.config + ".log").read()

    def kill(self):
        if self.bird and self.bird.poll() is None:
            self.bird.send_signal(signal.SIGKILL)
        if self.bird:
            self.bird.wait()

    def restart(self):
        """As culvert-bird.service does it."""
        call("restart", self.socket)
        self.bird.wait(10)

    def apply(self, given):
        """Through the supervisor; its last state."""
        out = call("apply", self.socket, self.config, stdin=json.dumps(given) + "\n").stdout
        return json.loads(out.splitlines()[-1])

    def sessions(self):
        done = call("sessions", self.socket, "-o", "json", check=False)
        return {s["name"]: s for s in json.loads(done.stdout)} if done.returncode == 0 else {}

    def established(self, count):
        """Whether there are exactly `count` sessions, all of them up."""
        states = [s for s in self.sessions().values() if "/" not in s["neighbor"]]
        return len(states) == count and all(s["established"] for s in states)

    def routes(self, *selector):
        """Destinations that BIRD put into this node's kernel."""
        return {r["dst"]: r for r in json.loads(self.ns.ip("-j", *selector, "route", "show", "proto", "bird"))}


class Router:
    """GoBGP with one AS of its own and the nodes for neighbours."""

    def __init__(self, spaces, folder, switch, asn=65001, number=254):
        self.ns = spaces.new("tor")
        self.asn, self.number = asn, number
        self.address = f"198.18.0.{number}"
        self.config = os.path.join(folder, "gobgp.toml")
        self.ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "tor", "netns", switch.name)
        switch.ip("link", "set", "tor", "up", "master", "br0")
        self.ns.ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self.ns.ip("link", "set", "eth0", "up")
        self.process = None

    def start(self, nodes, password="", ttl=False, peer_as=64512):
        text = f'[global.config]\nas = {self.asn}\nrouter-id = "{self.address}"\n'
        for node in nodes:
            text += "[[neighbors]]\n[neighbors.config]\n"
            text += f'neighbor-address = "198.18.0.{node.number}"\npeer-as = {peer_as}\n'
            text += f'auth-password = "{password}"\n' if password else ""
            text += "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n" if ttl else ""
            text += "[neighbors.timers.config]\nconnect-retry = 2\nidle-hold-time-after-reset = 2\n"
            text += "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n"
            text += '[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "ipv4-unicast"\n'
            text += "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
        with open(self.config, "w") as f:
            f.write(text)
        with self.ns.enter():
            self.process = subprocess.Popen(["gobgpd", "-f", self.config, "--api-hosts=127.0.0.1:50051"],
                                            stdout=open(self.config + ".log", "w"), stderr=subprocess.STDOUT)
        assert until(lambda: self.gobgp("global", check=False), 15)

    def gobgp(self, *arguments, check=True):
        return self.ns.run("gobgp", *arguments, check=check)

    def announce(self, prefix):
        self.gobgp("global", "rib", "add", prefix)

    def rib(self):
        """Prefix: AS paths, each a tuple, shortest first."""
        text = self.gobgp("-j", "global", "rib", check=False)
        table = json.loads(text) if text.strip().startswith("{") else {}
        return {prefix: sorted((path_of(p) for p in paths), key=len) for prefix, paths in table.items()}

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def path_of(path):
    for attribute in path["attrs"]:
        if attribute["type"] == 2:  # AS_PATH
            return tuple(asn for segment in attribute.get("as_paths", []) for asn in segment["asns"])
    return ()


class Fabric:
    """A link, nodes on it and a router; everything ends with close()."""

    def __init__(self, spaces, folder):
        self.spaces, self.folder = spaces, str(folder)
        self.switch = spaces.new("switch")
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("link", "set", "br0", "up")
        self.cluster = Cluster()
        self.nodes, self.router = [], None

    def add(self, count):
        for _ in range(count):
            node = Node(self.spaces, self.folder, self.switch, len(self.nodes) + 1)
            self.nodes.append(node)
            self.cluster.input["nodes"].append(node.facts())
        return self.nodes[-count:]

    def add_router(self, **options):
        self.router = Router(self.spaces, self.folder, self.switch)
        self.router.start(self.nodes, **options)
        return self.router

    def start(self):
        for node in self.nodes:
            node.start(self.cluster.of(node.name))

    def apply(self):
        return [node.apply(self.cluster.of(node.name)) for node in self.nodes]

    def close(self):
        for node in self.nodes:
            node.kill()
        if self.router:
            self.router.stop()
