"""Chained plugins: each alone behind ptp, the chain that Kubernetes runs, many containers, and a node that is drained."""
import os
import subprocess

from bench import TOOLS, alternate, median
from lib import cni, configs

VERSION = "1.0.0"
MBIT = 1_000_000
RESIDENTS = 1000
DRAINED, WORKERS = 200, 16

PORTS = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
BANDWIDTH = {"type": "bandwidth", "ingressRate": 100 * MBIT, "ingressBurst": 10 * MBIT, "egressRate": 100 * MBIT, "egressBurst": 10 * MBIT}
FIREWALL = {"type": "firewall"}


def portmap(number):
    """Two ports of the container with this number."""
    ports = [{"hostPort": 10_000 + 2 * number + i, "containerPort": 80 + i, "protocol": "tcp"} for i in (0, 1)]
    return {**PORTS, "runtimeConfig": {"portMappings": ports}}


def ptp(folder):
    config = configs.ptp(folder, VERSION, subnets=("10.92.0.0/16",))
    return {k: v for k, v in config.items() if k not in ("name", "cniVersion")}


class ChainSide:
    """One plugin directory running some plugins of a chain, the ones before them having run once."""

    def __init__(self, name, plugins, launcher, spaces, folder, before, measured):
        self.name, self.plugins, self.launcher = name, plugins, launcher
        self.host, self.container = spaces.new("bench"), spaces.new("c")
        self.folder, self.measured, self.cid = folder, measured, cni.new_id("chain")
        self.base = None
        for entry in before:
            self.base = cni.execute(self.host, plugins, entry["type"], "ADD", self._complete(entry, self.base), self.cid,
                                    self.container.path, "eth0").expect_ok().json
        self.result = None

    def _complete(self, entry, previous):
        config = {**entry, "cniVersion": VERSION, "name": "bench"}
        return {**config, "prevResult": previous} if previous else config

    def _run(self, verb, entry, previous):
        env = cni.environment(verb, self.plugins, self.cid, self.container.path, "eth0")
        env["PATH"] = cni.SEARCH_PATH
        return self.launcher.run(self.host, [self.plugins.find(entry["type"])], env, cni.as_bytes(self._complete(entry, previous)))

    def add(self):
        samples, self.result = [], self.base
        for entry in self.measured:
            samples.append(self._run("ADD", entry, self.result))
            self.result = self.launcher.output()
        return Sum(samples)

    def delete(self):
        return Sum([self._run("DEL", entry, self.result) for entry in reversed(self.measured)])

    def populate(self, count):
        """So many containers with two mapped ports each, by the plugin itself; only their results are made up."""
        for number in range(1, count + 1):
            address = f"10.93.{number // 250}.{number % 250 + 2}"
            previous = {"cniVersion": VERSION, "interfaces": [{"name": "eth0", "sandbox": self.container.path}],
                        "ips": [{"version": "4", "address": f"{address}/16", "interface": 0}]}
            cni.execute(self.host, self.plugins, "portmap", "ADD", self._complete(portmap(number), previous), f"resident-{number}",
                        self.container.path, "eth0").expect_ok()
        return self


class Sum:
    """Several plugins, one after the other."""

    def __init__(self, samples):
        self.rc, self.rss_kib = 0, max(s.rss_kib for s in samples)
        self.wall_us, self.cpu_us, self.all_us = (sum(getattr(s, f) for s in samples) for f in ("wall_us", "cpu_us", "all_us"))


def compare(table, launcher, spaces, folder, rounds):
    cases = {
        "portmap, 2 ports": ([ptp], [portmap(0)], 1 / 10, 1 / 10),
        "firewall": ([ptp], [FIREWALL], 1 / 5, 1 / 5),
        "ptp + portmap + bandwidth + firewall": ([], [ptp, portmap(0), BANDWIDTH, FIREWALL], 1 / 8, 1 / 3),
    }
    for label, (before, measured, add_bound, del_bound) in cases.items():
        sides = [side(name, plugins, launcher, spaces, os.path.join(folder, f"{label}-{name}"), before, measured)
                 for name, plugins in (("ours", cni.OURS), ("reference", cni.REFERENCE))]
        samples = alternate(sides, rounds)
        for verb, bound in (("ADD", add_bound), ("DEL", del_bound)):
            for what, field, limit in (("wall", "wall_us", bound), ("CPU with all it left running", "cpu_us", None)):
                table.ratio(f"{verb} {label}, {what}", median(samples["ours"][verb], field), "reference",
                            median(samples["reference"][verb], field), limit)
    many(table, launcher, spaces, folder, rounds)


def side(name, plugins, launcher, spaces, folder, before, measured):
    made = [[entry(folder) if callable(entry) else entry for entry in part] for part in (before, measured)]
    return ChainSide(name, plugins, launcher, spaces, folder, *made)


def many(table, launcher, spaces, folder, rounds):
    """Ours beside itself: no mapped container but one, and a thousand."""
    few, full = (side(name, cni.OURS, launcher, spaces, os.path.join(folder, name), [ptp], [portmap(0)]) for name in ("few", "full"))
    few.populate(1), full.populate(RESIDENTS)
    samples = alternate([few, full], rounds)
    for verb in ("ADD", "DEL"):
        table.ratio(f"{verb} portmap among {RESIDENTS} mapped containers, wall", median(samples["full"][verb], "wall_us"), "ours among 1",
                    median(samples["few"][verb], "wall_us"), 1.25)


class Node:
    """Containers with ptp and portmap, added one by one, deleted many at a time."""

    def __init__(self, plugins, spaces, folder):
        os.makedirs(folder)
        self.host, self.folder = spaces.new("node"), folder
        self.plugins, self.containers = plugins, []
        for number in range(DRAINED):
            chain = cni.Conflist(self.host, VERSION, "bench", [(plugins, ptp(folder)), (plugins, portmap(number))])
            container = spaces.new("c")
            chain.add(f"drained-{number}", container.path)
            self.containers.append((chain, f"drained-{number}", container))

    def drain(self):
        """Microseconds until the last DEL has returned."""
        jobs = os.path.join(self.folder, "jobs")
        with open(jobs, "w") as f:
            for chain, cid, container in self.containers:
                f.write("\t".join([cid, container.path, *self._steps(chain, cid)]) + "\n")
        env = {"PATH": cni.SEARCH_PATH, "CNI_COMMAND": "DEL", "CNI_PATH": self.plugins.path, "CNI_IFNAME": "eth0"}
        with self.host.enter():
            done = subprocess.run([f"{TOOLS}/parallel", str(WORKERS), jobs], env=env, stdout=subprocess.PIPE, text=True, check=True)
        nanoseconds, failures = map(int, done.stdout.split())
        assert failures == 0, f"{failures} of the DELs failed"
        return nanoseconds / 1e3

    def _steps(self, chain, cid):
        for number, (plugins, entry) in enumerate(reversed(chain.entries)):
            config = os.path.join(self.folder, f"{cid}-{number}")
            with open(config, "wb") as f:
                f.write(cni.as_bytes({**entry, "cniVersion": VERSION, "name": chain.name, "prevResult": chain.result}))
            yield from (plugins.find(entry["type"]), config)


def drain(table, spaces, folder):
    ours, theirs = (Node(plugins, spaces, os.path.join(folder, f"drain-{name}")).drain()
                    for name, plugins in (("ours", cni.OURS), ("reference", cni.REFERENCE)))
    table.ratio(f"drain of {DRAINED} containers (ptp + portmap), {WORKERS} at once", ours, "reference", theirs, 1 / 10)
