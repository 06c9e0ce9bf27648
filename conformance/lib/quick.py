"""What a namespace holds, read in a millisecond: for tests that ask after every system call of a plugin.

lib/snapshot.py says more, and takes a dozen processes to say it. Facts here are only for comparison with another
state of the same namespaces.
"""
import hashlib
import os
import socket
import struct

from . import nft

NEWLINK, GETLINK, GETADDR, GETROUTE, GETRULE, GETNEIGH, GETQDISC = 16, 18, 22, 26, 34, 30, 38
DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
# uapi/linux/if_link.h: ADDRESS IFNAME MTU QDISC MASTER TXQLEN LINKINFO IFALIAS NUM_VF.. PROMISCUITY ALLMULTI
LINK_ATTRIBUTES = {1: "mac", 3: "name", 4: "mtu", 6: "qdisc", 10: "master", 13: "txqlen", 20: "alias", 30: "promisc", 61: "allmulti"}
IFF_UP = 1
CACHE = {"lock", "index"}


def _dump(sock, kind, header):
    sock.send(struct.pack("=IHHII", 16 + len(header), kind, DUMP, 1, 0) + header)
    while True:
        data = sock.recv(1 << 18)
        while data:
            length, type_ = struct.unpack_from("=IH", data)
            if type_ == 3:  # NLMSG_DONE
                return
            if type_ == 2:
                raise OSError(-struct.unpack_from("=i", data, 16)[0], "netlink dump")
            yield data[16:length]
            data = data[(length + 3) & ~3:]


def _attributes(data):
    while len(data) >= 4:
        length, type_ = struct.unpack_from("=HH", data)
        yield type_ & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3:]


def _links(sock):
    for message in _dump(sock, GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        index, flags = struct.unpack_from("=iI", message, 4)
        found = {LINK_ATTRIBUTES[k]: v.rstrip(b"\0").hex() if k in (1, 4, 10, 13, 30, 61) else v.rstrip(b"\0").decode()
                 for k, v in _attributes(message[16:]) if k in LINK_ATTRIBUTES}
        name = found.pop("name")
        if name == "lo":
            found.pop("qdisc", None)
        yield f"link {name}", (index, bool(flags & IFF_UP), tuple(sorted(found.items())))


def _addresses(sock):
    for message in _dump(sock, GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
        attributes = {k: v for k, v in _attributes(message[8:]) if k in (1, 2)}
        address = attributes.get(2, attributes.get(1))
        if not address.startswith(b"\xfe\x80"):  # link-local ones come when they like
            yield f"address {address.hex()}/{message[1]} on {struct.unpack_from('=I', message, 4)[0]}", True


def _routes(sock):
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(sock, GETROUTE, struct.pack("=BBBBBBBBI", family, *[0] * 7, 0)):
            attributes = {k: v for k, v in _attributes(message[12:]) if k not in (12, 23)}  # RTA_CACHEINFO, RTA_EXPIRES
            destination = attributes.get(1, b"")
            if message[4] != 255 and not destination.startswith((b"\xfe\x80", b"\xff")):  # RT_TABLE_LOCAL, link-local, multicast
                yield f"route {message[:8].hex()} {sorted((k, v.hex()) for k, v in attributes.items())}", True


def _rules(sock):
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(sock, GETRULE, struct.pack("=BBBBBBBBI", family, *[0] * 7, 0)):
            yield f"rule {message.hex()}", True


def _neighbours(sock):
    for message in _dump(sock, GETNEIGH, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)):
        if struct.unpack_from("=H", message, 8)[0] & 0x80:  # NUD_PERMANENT
            yield f"neighbour {sorted((k, v.hex()) for k, v in _attributes(message[12:]) if k in (1, 2))}", True


def _qdiscs(sock):
    for message in _dump(sock, GETQDISC, struct.pack("=BxxxiIII", 0, 0, 0, 0, 0)):
        index, handle, parent = struct.unpack_from("=iII", message, 4)
        kind = dict(_attributes(message[20:]))[1].rstrip(b"\0").decode()
        if kind != "noqueue":
            yield f"qdisc {kind} on {index}", (handle, parent)


def kernel(ns):
    facts = {}
    with ns.enter():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with sock:
        for part in (_links, _addresses, _routes, _rules, _neighbours, _qdiscs):
            facts.update(part(sock))
    if nft.any_table(ns):
        facts.update({f"nft {line}": True for line in nft.text(ns).splitlines()})
    return facts


def files(*folders):
    """Every file that is not a cache of ours or a lock, with its content's hash."""
    found = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                if name == "lock" or name.startswith("last_reserved_ip.") or path.startswith("/run/culvert/host-local/"):
                    continue
                with open(path, "rb") as f:
                    found[f"file {path}"] = hashlib.sha256(f.read()).hexdigest()[:16] if os.path.isfile(path) else "special"
    return found
