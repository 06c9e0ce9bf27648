#!/usr/bin/python3
"""What an ADD and a DEL cost: ours, the bare kernel calls, and Debian's reference plugins.

Each of the three has its own "host" namespace with a bridge, and takes its turn in every round, so
that a noisy machine disturbs all alike. Children are started by tools/measure, a small static
program; neither Python nor nsenter is in the figures. Every figure is a median; the ratios are what
counts. Exit code 1 when a bound is missed.
"""
import argparse
import ipaddress
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench import HERE, TOOLS, Launcher, Table, alternate, median
import chains
from lib import cni, configs, netns
RESERVATIONS = 50_000


class PluginSide:
    """bridge + host-local of one plugin directory."""

    def __init__(self, name, plugins, launcher, spaces, folder, masquerade):
        self.name, self.plugins, self.launcher, self.spaces = name, plugins, launcher, spaces
        self.host, self.container = spaces.new("bench"), spaces.new("c")
        self.config = configs.bridge(os.path.join(folder, f"data-{name}-{masquerade}"), "1.0.0", name="bench",
                                     subnets=("10.90.0.0/16",), ipMasq=masquerade)
        self.cid = self.result = None

    def add_resident(self):
        """Another container that stays: a node has some, and tables and chains are there already."""
        resident = cni.Attachment(self.host, self.config, self.spaces.new("resident"), plugins=self.plugins)
        resident.add()
        return self

    def _run(self, verb, config):
        env = cni.environment(verb, self.plugins, self.cid, self.container.path, "eth0")
        return self.launcher.run(self.host, [self.plugins.find("bridge")], env, cni.as_bytes(config))

    def add(self):
        self.cid = cni.new_id("bench")
        sample = self._run("ADD", self.config)
        self.result = self.launcher.output()
        return sample

    def delete(self):
        return self._run("DEL", {**self.config, "prevResult": self.result})


class FloorSide:
    """The kernel calls alone, by tools/floor."""

    def __init__(self, launcher, spaces):
        self.name, self.launcher = "floor", launcher
        self.host, self.container = spaces.new("bench"), spaces.new("c")
        self.host.ip("link", "add", "cni0", "type", "bridge")
        self.host.ip("address", "add", "10.90.0.1/16", "dev", "cni0")
        self.host.ip("link", "set", "cni0", "up")

    def add(self):
        return self.launcher.run(self.host, [f"{TOOLS}/floor", "add", self.container.path, "eth0", "vethbench", "cni0",
                                             "10.90.0.2/16", "10.90.0.1"])

    def delete(self):
        return self.launcher.run(self.host, [f"{TOOLS}/floor", "del", "vethbench"])


def plugin_sides(launcher, spaces, folder, masquerade, alone):
    sides = [PluginSide(name, plugins, launcher, spaces, os.path.join(folder, "alone" if alone else "busy"), masquerade)
             for name, plugins in (("ours", cni.OURS), ("reference", cni.REFERENCE))]
    return sides if alone else [side.add_resident() for side in sides]


def add_and_del(table, launcher, spaces, folder, rounds):
    """Peak memory of all ADDs of ours, in KiB."""
    peak = 0
    for masquerade, alone, label in ((False, False, "plain"), (True, False, "ipMasq"), (True, True, "ipMasq, first and last of the host")):
        ours, reference = plugin_sides(launcher, spaces, folder, masquerade, alone)
        samples = alternate([ours, FloorSide(launcher, spaces), reference], rounds)
        report_add_and_del(table, label, masquerade, alone, samples)
        peak = max(peak, *(s.rss_kib for s in samples["ours"]["ADD"]))
    return peak


def report_add_and_del(table, label, masquerade, alone, samples):
    def row(verb, what, versus, side, bound, field="wall_us"):
        table.ratio(f"{verb} {label}, {what}", median(samples["ours"][verb], field), versus, median(samples[side][verb], field), bound)
    row("ADD", "wall", "bare calls", "floor", None if masquerade else 2.0)
    row("ADD", "wall", "reference", "reference", 1 / 8 if masquerade else 1 / 3)
    row("ADD", "CPU", "bare calls", "floor", None, "cpu_us")
    row("ADD", "CPU", "reference", "reference", 1 / 8, "cpu_us")
    row("DEL", "wall", "bare deletion", "floor", 1.15)
    row("DEL", "wall", "reference", "reference", None)
    if alone:
        return
    row("DEL", "until its last process ended", "bare deletion", "floor", None, "all_us")
    row("DEL", "CPU with all it left running", "reference", "reference", None, "cpu_us")
    if not masquerade:
        table.ratio("  the bare calls' own ADD CPU", median(samples["floor"]["ADD"], "cpu_us"), "reference",
                    median(samples["reference"]["ADD"], "cpu_us"), None)


class Pool:
    """host-local alone on a directory with so many reservations."""

    def __init__(self, plugins, launcher, host, container, folder, count):
        self.plugins, self.launcher, self.host, self.container = plugins, launcher, host, container
        self.config = configs.ipam_only(folder, "1.0.0", name="pool", subnets=("10.91.0.0/16",))
        populate(os.path.join(folder, "pool"), "10.91.0.0/16", count)

    def _run(self, verb, cid):
        env = cni.environment(verb, self.plugins, cid, self.container.path, "eth0")
        return self.launcher.run(self.host, [self.plugins.find("host-local")], env, cni.as_bytes(self.config))

    def round(self):
        cid = cni.new_id("pool")
        return self._run("ADD", cid), self._run("DEL", cid)


def populate(folder, subnet, count):
    """Reservations as either plugin writes them: file named by address, container id CR LF interface."""
    os.makedirs(folder)
    network = ipaddress.ip_network(subnet)
    for i in range(count):
        address = str(network[i + 2])
        fd = os.open(os.path.join(folder, address), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, f"resident-{i:06d}-0123456789abcdef0123456789abcdef\r\neth0".encode())
        os.close(fd)
    if count:
        with open(os.path.join(folder, "last_reserved_ip.0"), "w") as f:
            f.write(address)


def big_directory(table, launcher, spaces, folder, rounds):
    host, container = spaces.new("bench"), spaces.new("c")

    def pools(name, plugins):
        return [Pool(plugins, launcher, host, container, os.path.join(folder, f"{name}-{n}"), n) for n in (0, RESERVATIONS)]
    ours, reference = pools("ours", cni.OURS), pools("reference", cni.REFERENCE)
    cold = ours[1].round()[0]
    ours[0].round()
    taken = {0: [], 1: []}
    for r in range(rounds):
        for i in ((0, 1) if r % 2 else (1, 0)):
            taken[i].append(ours[i].round())
    theirs = {i: [reference[i].round() for _ in range(max(3, rounds // 8))] for i in (0, 1)}
    wall = lambda pairs, verb: statistics.median(p[verb].wall_us for p in pairs)  # noqa: E731
    for verb, name in ((0, "ADD"), (1, "DEL")):
        table.ratio(f"host-local {name}, {RESERVATIONS} reservations", wall(taken[1], verb), "ours with none", wall(taken[0], verb), 3.0 if verb == 0 else None)
        table.ratio(f"host-local {name}, {RESERVATIONS} reservations", wall(taken[1], verb), "reference", wall(theirs[1], verb), None)
    table.ratio(f"  the reference's own ADD, {RESERVATIONS} reservations", wall(theirs[1], 0), "its with none", wall(theirs[0], 0), None)
    table.limit("  ours, very first ADD (no cache yet)", cold.wall_us, None, "us")
    foreign = []
    for i in range(5):  # another program (say, the reference) changed the directory behind the cache
        write_foreign(ours[1].config, i)
        foreign.append(ours[1].round()[0].wall_us)
    table.limit("  ours, ADD after a foreign change", statistics.median(foreign), None, "us")


def write_foreign(config, i):
    path = os.path.join(config["ipam"]["dataDir"], "pool", f"10.91.250.{i}")
    with open(path, "w") as f:
        f.write(f"foreign-{i}\r\neth0")


def status_cost(table, launcher, spaces, folder, rounds):
    side = PluginSide("status", cni.OURS, launcher, spaces, folder, True)
    side.config["cniVersion"] = cni.LATEST
    side.add()
    env = cni.environment("STATUS", cni.OURS)
    taken = [launcher.run(side.host, [cni.OURS.find("bridge")], env, cni.as_bytes(side.config)) for _ in range(rounds)]
    table.limit("STATUS of bridge + host-local, wall", median(taken, "wall_us"), 2000, "us")


def executable(table, rss_kib):
    path = os.path.realpath(cni.OURS.find("bridge"))
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip()
    table.fact("ldd of the executable", said.split("\n")[0][-40:], "not a dynamic executable" in said or "statically linked" in said)
    unique = {os.stat(os.path.join(cni.OURS_DIR, f)).st_ino: os.stat(os.path.join(cni.OURS_DIR, f)).st_size
              for f in os.listdir(cni.OURS_DIR)}
    table.limit("size of all plugins together", sum(unique.values()) / 1e6, 6.0, "MB")
    table.limit("peak memory of an ADD (largest of all)", rss_kib / 1024, 8.0, "MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each comparison (at least 30 for the record)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", choices=["add-del", "reservations", "executable", "chains", "drain"], help="one part")
    options = parser.parse_args()
    if not os.path.isdir(cni.OURS_DIR):
        raise SystemExit(f"no plugins in {cni.OURS_DIR}: run ./dev build, or set CULVERT_CNI_DIR")
    netns.isolate()
    os.setpriority(os.PRIO_PROCESS, 0, -15)  # for all alike: less of what else the machine does
    subprocess.run(["make", "-s", "-C", os.path.join(os.path.dirname(HERE), "tools"), f"OUT={TOOLS}"], check=True)
    folder = tempfile.mkdtemp(prefix="culvert-bench-", dir="/var/tmp")  # a real disk, as in production
    spaces, table, launcher = netns.Namespaces(), Table(), Launcher(folder)
    try:
        start = [launcher.run(spaces.new("bench"), ["/bin/true"]) for _ in range(options.rounds)]
        table.limit("starting /bin/true, wall", median(start, "wall_us"), None, "us")
        if options.only in (None, "add-del", "executable"):
            rss = add_and_del(table, launcher, spaces, folder, options.rounds if options.only != "executable" else 2)
        if options.only in (None, "reservations"):
            big_directory(table, launcher, spaces, folder, options.rounds)
        if options.only is None and not cni.IS_REFERENCE:
            status_cost(table, launcher, spaces, folder, options.rounds)
        if options.only in (None, "chains"):
            chains.compare(table, launcher, spaces, folder, options.rounds)
        if options.only in (None, "drain"):
            chains.drain(table, spaces, folder)
        if options.only in (None, "executable"):
            executable(table, rss)
    finally:
        spaces.close()
        shutil.rmtree(folder)
    print(f"medians of {options.rounds} alternating rounds, load {os.getloadavg()[0]:.1f}; ours {cni.OURS_DIR}, reference {cni.REFERENCE_DIR}\n")
    table.print()
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"rounds": options.rounds, "rows": table.rows}, f, indent=2)
    if table.failed:
        print(f"\n{len(table.failed)} of {sum(r['ok'] is not None for r in table.rows)} bounds missed")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
