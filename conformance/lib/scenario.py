"""One plugin in its ordinary use, and the stage on which the tests of the matrix play it.

A scenario says what a plugin needs and how it is configured; test_matrix.py does the rest: every verb of every
plugin beside the reference, killed at every system call, garbage-collected, and given hostile input.
"""
import importlib
import json
import os
import pkgutil
import re

from . import cni, netns, quick, snapshot
from .cni import HOST_VETH, OURS

SCENARIOS_PACKAGE = "scenarios"
WATCHED = ("/run/culvert", "/run/cni", "/var/lib/cni")


class Scenario:
    """Subclass it in conformance/scenarios/<plugin>.py; the defaults suit an interface plugin with host-local."""

    plugin = None            # the name under test
    kernel = ()              # link kinds that the kernel must know ("vlan", "vrf", ...); else the virtual machine has them
    oldest = "0.1.0"         # cniVersion
    ifname = "eth0"
    has_reference = True     # whether Debian's 1.1.1 has the plugin
    reference_check_fails_when_broken = True  # some of the reference's CHECKs notice nothing
    reference_check_works = True  # some fail on what their own ADD made
    result_not_compared = ()      # keys of the result in which only the reference is wrong
    remains = ()             # (part of a line of left(), the reason): what the network keeps after the last DEL
    remains_after_gc = ()    # the same, after a GC
    reference_deletes_twice = True  # some of the reference's second DELs fail
    exclusive = False        # one container uses the network up, and STATUS says so while it lives
    macs = ()                # MACs that are given, not random
    deliberate = ()          # (pattern of a difference as snapshot.difference() prints it, the reason)

    def prepare(self, stage):
        """What the host has before the first ADD."""

    def prepare_container(self, stage, container, index):
        """What each container's namespace has before its ADD."""

    def before(self, stage, index):
        """The plugins of the chain ahead of this one; their last result is its prevResult."""
        return []

    def config(self, stage, index):
        """The plugin's own part of the list; index counts containers from 0."""
        raise NotImplementedError

    def extra_environment(self, stage):
        return {}

    def damage(self, stage, attachment):
        """Breaks what the plugin has made (or what attachment.result says of it), so that CHECK must fail."""
        attachment.container.ip("link", "del", self.ifname)

    def close(self, stage):
        """Ends what prepare() started."""


def every():
    """Name to Scenario, of every module in conformance/scenarios."""
    package = importlib.import_module(SCENARIOS_PACKAGE)
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        scenario = importlib.import_module(f"{SCENARIOS_PACKAGE}.{module}").SCENARIO
        found[scenario.plugin] = scenario
    return found


class Stage:
    """A host and its containers for one scenario, with one of the two plugin directories."""

    network = "matrix"

    def __init__(self, scenario, folder, plugins=OURS, version=cni.LATEST):
        folder.mkdir(parents=True, exist_ok=True)
        netns.empty_folders(WATCHED)
        self.scenario, self.folder, self.plugins, self.version = scenario, folder, plugins, version
        self.spaces = netns.Namespaces()
        self.host = self.spaces.new("host")
        self._quiet(self.host)
        self.attachments = []
        scenario.prepare(self)

    def _quiet(self, ns):
        ns.sysctl("net/ipv6/conf/default/dad_transmits", 0)  # the reference waits 2 s for it
        ns.sysctl("net/ipv6/conf/default/router_solicitations", 0)

    def close(self):
        self.scenario.close(self)
        self.spaces.close()

    def attach(self):
        """A new container, ready for the plugin: the chain before it has been added."""
        container = self.spaces.new("c")
        self._quiet(container)
        attachment = Attachment(self, container, len(self.attachments))
        self.attachments.append(attachment)
        return attachment

    def state(self):
        """Everything that is there now, in all of the stage's namespaces and in the plugins' folders."""
        facts = {f"host: {k}": v for k, v in quick.kernel(self.host).items()}
        for attachment in self.attachments:
            facts.update({f"c{attachment.index}: {k}": v for k, v in quick.kernel(attachment.container).items()})
        return {**facts, **quick.files(*WATCHED, self.folder)}

    def gc(self, valid, version=None, **keys):
        """GC of the plugin under test; valid: a list of attachments, or None for no list at all."""
        config = self.attachments[0].config(version)
        if valid is not None:
            config["cni.dev/valid-attachments"] = [{"containerID": a.cid, "ifname": a.ifname} for a in valid]
        config.update(keys)
        return self.run("GC", config)

    def run(self, verb, config, wrapper=(), timeout=60, **given):
        environment = {**self.scenario.extra_environment(self), **given.pop("extra", {})}
        return cni.execute(self.host, self.plugins, self.scenario.plugin, verb, config, wrapper=wrapper, timeout=timeout,
                           extra=environment, cwd=self.folder, **given)


class Attachment:
    """A container, and the plugin under test on top of what comes before it in the chain."""

    def __init__(self, stage, container, index):
        self.stage, self.container, self.index = stage, container, index
        self.cid, self.ifname, self.netns = f"container-{index}", stage.scenario.ifname, container.path
        stage.scenario.prepare_container(stage, container, index)
        self.previous = None
        for entry in stage.scenario.before(stage, index):
            config = self._complete(entry, self.previous)
            self.previous = cni.execute(stage.host, stage.plugins, entry["type"], "ADD", config, self.cid, self.netns,
                                        self.ifname, extra=stage.scenario.extra_environment(stage)).expect_ok().json
        self.result = None

    def _complete(self, entry, previous, version=None):
        config = {**entry, "cniVersion": version or self.stage.version, "name": self.stage.network}
        if previous is not None:
            config["prevResult"] = previous
        return config

    def config(self, version=None, previous=None):
        return self._complete(self.stage.scenario.config(self.stage, self.index), previous, version)

    def config_for(self, verb):
        if verb == "ADD":
            return self.config(previous=self.previous)
        if verb in ("CHECK", "DEL"):
            return self.config(previous=self.result)
        return self.config()

    def run(self, verb, config=None, wrapper=(), **changes):
        given = dict(cid=self.cid, netns=self.netns, ifname=self.ifname)
        given.update(changes)
        return self.stage.run(verb, self.config_for(verb) if config is None else config, wrapper, **given)

    def add(self):
        self.result = self.run("ADD").expect_ok().json
        return self.result

    def delete(self, with_result=True):
        return self.run("DEL", None if with_result else self.config())

    def plain_result(self, not_compared=()):
        """The result with what is random replaced, and an empty dns left out (newer references omit it)."""
        result = json.loads(json.dumps(self.result).replace(self.netns, "<netns>").replace(str(self.stage.folder), "<folder>"))
        names = {}
        for i, interface in enumerate(result.get("interfaces", [])):
            if HOST_VETH.match(interface["name"]):
                names[interface["name"]] = f"veth#{i}"
            if snapshot.IFB.match(interface["name"]):
                names[interface["name"]] = "bwp#"
            interface["name"] = names.get(interface["name"], interface["name"])
            if interface.get("mac") and interface["mac"] not in self.stage.scenario.macs and interface["name"] != "lo":
                interface["mac"] = "<mac>"
            interface.pop("mtu", None)  # CNI 1.1; the reference never says it
        if not result.get("dns"):
            result.pop("dns", None)
        return {k: v for k, v in result.items() if k not in not_compared}


def left(scenario, before, now, after_gc=False):
    """What is there and was not, or is not there and was; readable."""
    allowed = (*scenario.remains, *(scenario.remains_after_gc if after_gc else ()))
    return [line for line in snapshot.difference(before, now, "before", "now") if not any(part in line for part, _ in allowed)]


def kinds_of(kernel_kinds):
    """Those of the link kinds that this kernel cannot make."""
    ns = netns.NetNs("probe")
    try:
        extra = {"vlan": ["link", "lo0", "type", "vlan", "id", "5"], "vrf": ["type", "vrf", "table", "100"],
                 "ipvlan": ["link", "lo0", "type", "ipvlan"], "dummy": ["type", "dummy"]}
        ns.ip("link", "add", "lo0", "type", "veth", "peer", "name", "lo1")
        missing = []
        for kind in kernel_kinds:
            arguments = extra[kind]
            prefix = arguments[:2] if arguments[0] == "link" else []
            rest = arguments[len(prefix):]
            ns.ip("link", "add", *prefix, "name", "probe0", *rest, check=False)
            if "probe0" not in [name.split("@")[0] for name in ns.links()]:
                missing.append(kind)
            else:
                ns.ip("link", "del", "probe0")
        return missing
    finally:
        ns.delete()


def uplink(stage, name="up0"):
    """A physical-looking link of the host with a host beyond it: the master of macvlan, vlan and the like."""
    beyond = stage.spaces.new("beyond")
    netns.join(stage.host, beyond, name, "eth0", "198.18.0.1/24", "198.18.0.2/24")
    return beyond


def host_local(stage, *subnets, routes=("0.0.0.0/0",)):
    return {"type": "host-local", "dataDir": os.path.join(str(stage.folder), "ipam"),
            "ranges": [[{"subnet": s}] for s in subnets or ("10.60.0.0/24",)], "routes": [{"dst": r} for r in routes]}


class ContainerLink(Scenario):
    """macvlan and its like: one link in the container, and an uplink that most of them lie on."""

    deliberate = (("*only ours: link eth0 ifalias*", "the link carries its owner, so that DEL and GC know it under any name"),)

    def prepare(self, stage):
        uplink(stage)

    def ipam(self, stage):
        return host_local(stage, "198.18.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))
