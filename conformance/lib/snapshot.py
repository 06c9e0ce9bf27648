"""Kernel state as plain comparable data: a flat dict from a readable path to a value.

Names and values that differ from run to run (host veth names, random MACs, link-local addresses,
indexes, counters) are replaced, so that two snapshots of equivalent states are equal.
"""
import json
import os
import re
import stat
import time

from .cni import HOST_VETH

IFB = re.compile(r"^bwp[0-9a-f]{12}$")  # bandwidth's
LINK_KEYS = ("mtu", "operstate", "link_type", "txqlen", "promiscuity", "allmulti", "group", "master", "ifalias")
PORT_KEYS = ("hairpin", "isolated", "learning", "flood", "guard", "root_block", "fastleave", "mcast_flood",
             "bcast_flood", "neigh_suppress", "vlan_tunnel", "locked")
BRIDGE_KEYS = ("vlan_filtering", "stp_state", "ageing_time", "forward_delay", "mcast_snooping", "vlan_default_pvid")
FLAGS = ("UP", "PROMISC", "ALLMULTI", "MULTICAST", "NOARP")
GLOBAL_SYSCTLS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding",
                  "net/ipv4/conf/all/forwarding")


def _json(ns, *command):
    out = ns.run(*command)
    return json.loads(out) if out.strip() else []


class _Names:
    """Stable stand-ins for random names, MACs and the link-local addresses made from them."""

    def __init__(self, links, fixed_macs):
        # Those that lead into another namespace first: a vlan's gateway has a pair within the host.
        ordered = sorted(links, key=lambda l: ("link_netnsid" not in l, l["ifindex"]))
        random_names = [l["ifname"] for l in ordered if HOST_VETH.match(l["ifname"])]
        self.names = {n: f"veth#{i}" for i, n in enumerate(random_names)}
        self.names.update({l["ifname"]: "bwp#" for l in ordered if IFB.match(l["ifname"])})
        self.fixed = {m.lower() for m in fixed_macs}

    def name(self, value):
        return self.names.get(value, value)

    def mac(self, value):
        return value if value.lower() in self.fixed or value == "00:00:00:00:00:00" else "<mac>"

    def address(self, value):
        return re.sub(r"^fe80::[0-9a-f:]+", "<link-local>", value)


def links(ns):
    return _json(ns, "ip", "-d", "-j", "link")


def kernel(ns, fixed_macs=(), nft=True, sysctls=True):
    """Everything a plugin could have changed in this namespace."""
    found = links(ns)
    names = _Names(found, fixed_macs)
    facts = {}
    _link_facts(facts, found, names)
    _address_facts(facts, _json(ns, "ip", "-j", "address"), names)
    for family in ("-4", "-6"):
        _route_facts(facts, family, _json(ns, "ip", family, "-j", "route", "show", "table", "all"), names)
        for rule in _json(ns, "ip", family, "-j", "rule"):
            facts[f"rule {family} {json.dumps(rule, sort_keys=True)}"] = True
    _neighbour_facts(facts, _json(ns, "ip", "-j", "neigh", "show", "nud", "permanent"), names)
    _vlan_facts(facts, _json(ns, "bridge", "-j", "vlan"), names)
    for line in ns.run("tc", "qdisc").splitlines():
        kind, _, _, name, *rest = line.split()[1:]
        if kind != "noqueue":
            facts[f"qdisc {names.name(name)} {kind}"] = " ".join(w for i, w in enumerate(rest) if w != "refcnt" and rest[i - 1] != "refcnt")
    if nft:
        facts.update(nft_facts(ns))
    if sysctls:
        facts.update(_sysctl_facts(ns, [l["ifname"] for l in found], names))
    return facts


def settled(ns, fixed_macs=(), timeout=3.0):
    """kernel(), once it no longer changes: link-local addresses and carrier follow a little later."""
    return settled_all([ns], fixed_macs, timeout)[0]


def settled_all(spaces, fixed_macs=(), timeout=3.0):
    """settled() of several namespaces at once. What the kernel does in its own time takes longer the more others want to run."""
    pause = 0.04 * max(1.0, os.getloadavg()[0] / os.cpu_count())
    deadline = time.monotonic() + timeout + 10 * pause
    last = None
    while True:
        now = [kernel(ns, fixed_macs) for ns in spaces]
        if now == last or time.monotonic() > deadline:
            return now
        last = now
        time.sleep(pause)


def wait_for_dad(ns, timeout=5.0):
    """Until no IPv6 address is tentative: only then has each its local route, a second or more after the link came up."""
    deadline = time.monotonic() + timeout
    while ns.run("ip", "-6", "address", "show", "tentative").strip():
        assert time.monotonic() < deadline, "duplicate address detection does not end"
        time.sleep(0.05)


def _link_facts(facts, found, names):
    for link in found:
        base = f"link {names.name(link['ifname'])}"
        info = link.get("linkinfo", {})
        facts[f"{base} kind"] = info.get("info_kind", "")
        facts[f"{base} mac"] = names.mac(link.get("address", ""))
        for key in LINK_KEYS:
            if key in link:
                facts[f"{base} {key}"] = names.name(link[key]) if key == "master" else link[key]
        if link.get("operstate") == "UNKNOWN":
            facts[f"{base} operstate"] = "UP"  # the same to the kernel; a bridge shows either, by chance
        for flag in FLAGS:
            facts[f"{base} flag {flag}"] = flag in link["flags"]
        if info.get("info_slave_kind") == "bridge":
            port = info.get("info_slave_data", {})
            facts.update({f"{base} port {k}": port[k] for k in PORT_KEYS if k in port})
        if info.get("info_kind") == "bridge":
            data = info.get("info_data", {})
            facts.update({f"{base} bridge {k}": data[k] for k in BRIDGE_KEYS if k in data})


def _address_facts(facts, found, names):
    for link in found:
        for a in link.get("addr_info", []):
            address = f"{names.address(a['local'])}/{a['prefixlen']}"
            facts[f"address {names.name(link['ifname'])} {address}"] = {
                "scope": a.get("scope"), "broadcast": a.get("broadcast"), "peer": a.get("address"),
                "dadfailed": a.get("dadfailed", False)}


def _route_facts(facts, family, found, names):
    for route in found:
        if route.get("table") == "local" and route.get("protocol") == "kernel":
            continue  # the kernel's own shadow of an address, for IPv6 only after detection of duplicates
        parts = {k: route[k] for k in ("type", "table", "gateway", "prefsrc", "metric", "scope", "protocol",
                                       "metrics", "src") if k in route}
        if isinstance(parts.get("gateway"), str):
            parts["gateway"] = names.address(parts["gateway"])
        dst = names.address(route["dst"])
        where = names.name(route.get("dev", "-"))
        key = f"route {family} {dst} dev {where} {json.dumps(parts, sort_keys=True)}"
        facts[key] = facts.get(key, 0) + 1  # link-local routes of several links fall together


def _neighbour_facts(facts, found, names):
    for entry in found:
        facts[f"neighbour {names.name(entry['dev'])} {names.address(entry['dst'])}"] = names.mac(entry.get("lladdr", ""))


def _vlan_facts(facts, found, names):
    for port in found:
        for vlan in port.get("vlans", []):
            span = f"{vlan['vlan']}-{vlan.get('vlanEnd', vlan['vlan'])}"
            facts[f"vlan {names.name(port['ifname'])} {span}"] = sorted(vlan.get("flags", []))


def nft_facts(ns):
    """Each object of the nft ruleset; handles and counters left out."""
    facts = {}
    for entry in json.loads(ns.run("nft", "-j", "list", "ruleset"))["nftables"]:
        (kind, body), = entry.items()
        if kind == "metainfo":
            continue
        body = {k: v for k, v in body.items() if k != "handle"}
        key = f"nft {kind} {json.dumps(body, sort_keys=True)}"
        facts[key] = facts.get(key, 0) + 1
    return facts


def _sysctl_facts(ns, link_names, names):
    facts = {}
    with ns.enter():
        for key in GLOBAL_SYSCTLS:
            facts[f"sysctl {key}"] = _read(f"/proc/sys/{key}")
        for family in ("ipv4", "ipv6"):
            for link in ["all", "default", *link_names]:
                folder = f"/proc/sys/net/{family}/conf/{link}"
                for item in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                    if item != "stable_secret":
                        facts[f"sysctl {family}/{names.name(link)}/{item}"] = _read(f"{folder}/{item}")
    return facts


def _read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError as e:
        return f"<{e.strerror}>"


def files(folder):
    """Every file below a folder: relative path to (type, mode, content)."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(base, name)
            key = os.path.relpath(path, folder)
            mode = os.lstat(path).st_mode
            if os.path.islink(path):
                found[key] = ("link", None, os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("dir", oct(mode & 0o7777), None)
            elif stat.S_ISREG(mode):
                with open(path, "rb") as f:
                    found[key] = ("file", oct(mode & 0o7777), f.read())
            else:
                found[key] = ("other", oct(mode), None)
    return found


def difference(a, b, a_name="a", b_name="b"):
    """Lines that say where two snapshots differ; empty when they do not."""
    lines = []
    for key in sorted(set(a) | set(b)):
        if key not in b:
            lines.append(f"only {a_name}: {key} = {a[key]!r}")
        elif key not in a:
            lines.append(f"only {b_name}: {key} = {b[key]!r}")
        elif a[key] != b[key]:
            lines.append(f"{key}: {a_name} {a[key]!r}, {b_name} {b[key]!r}")
    return lines
