"""Reading and breaking our nft tables from outside, for tests of CHECK, DEL and GC."""
import json
import socket
import struct

OUR_TABLES = (("inet", "culvert_cni"), ("bridge", "culvert_cni"))


def tables(ns):
    """(family, name) of every nft table."""
    listed = json.loads(ns.run("nft", "-j", "list", "tables"))["nftables"]
    return sorted((e["table"]["family"], e["table"]["name"]) for e in listed if "table" in e)


def any_table(ns):
    """Whether there is one at all: a dump of NFT_MSG_GETTABLE, without a process."""
    with ns.enter():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    with sock:
        sock.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 1, 0x301, 1, 0, 0, 0, 0))
        return struct.unpack_from("=H", sock.recv(1 << 16), 4)[0] == 10 << 8


def ours(ns):
    return [t for t in tables(ns) if t in OUR_TABLES]


def text(ns):
    return ns.run("nft", "list", "ruleset")


def elements(ns, family, table="culvert_cni"):
    """(set or map name, kind, element) of every element of a table."""
    if (family, table) not in tables(ns):
        return []
    found = []
    for entry in json.loads(ns.run("nft", "-j", "list", "table", family, table))["nftables"]:
        for kind in ("set", "map"):
            for element in entry.get(kind, {}).get("elem", []):
                found.append((entry[kind]["name"], kind, element))
    return found


def element_mentions(element, text_):
    return text_.lower() in json.dumps(element).lower()


def delete_elements(ns, family, text_, table="culvert_cni"):
    """Delete the elements whose key or comment mentions the text; how many were deleted."""
    hit = [(name, kind, e) for name, kind, e in elements(ns, family, table) if element_mentions(e, text_)]
    for name, kind, element in hit:
        command = {"nftables": [{"delete": {"element": {"family": family, "table": table, "name": name,
                                                        "elem": [_key(kind, element)]}}}]}
        ns.run("nft", "-j", "-f", "-", stdin=json.dumps(command))
    return len(hit)


def _key(kind, element):
    key = element[0] if kind == "map" and isinstance(element, list) else element
    if isinstance(key, dict) and "elem" in key:
        key = key["elem"]["val"]
    return [key, element[1]] if kind == "map" and isinstance(element, list) else key
