"""Chained plugins that deal with routes: a container with wires to routers, behind each of which the same service is."""
import socket

from .cni import LATEST, OURS, Attachment, execute

NETWORK = "sourced"
SERVICE = "203.0.113.1"  # behind every router


class Net:
    """A router on a wire to the container's interface, brought there by host-device, and a chained plugin on top."""

    def __init__(self, plugin, host, spaces, container, number, addresses=None, routes=("0.0.0.0/0",), gateway=True, version=LATEST,
                 plugins=OURS, v6=False):
        self.plugin, self.host, self.container, self.number, self.plugins, self.version = plugin, host, container, number, plugins, version
        self.router = spaces.new("router")
        self.ifname, subnet = f"net{number}", f"10.{number}.0"
        host.ip("link", "add", f"dev{number}", "type", "veth", "peer", "name", "wire", "netns", self.router.name)
        for address, dev in ((f"{subnet}.1/24", "wire"), (f"fd0{number}::1/64", "wire"), (f"{SERVICE}/32", "lo")):
            self.router.ip("address", "add", address, "dev", dev, *(["nodad"] if ":" in address else []))
        self.router.ip("link", "set", "wire", "up")
        given = addresses or [f"{subnet}.5/24", *([f"fd0{number}::5/64"] if v6 else [])]
        entries = [{"address": a, **({"gateway": f"fd0{number}::1" if ":" in a else f"{subnet}.1"} if gateway else {})} for a in given]
        config = {"cniVersion": version, "name": NETWORK, "type": "host-device", "device": f"dev{number}",
                  "ipam": {"type": "static", "addresses": entries, "routes": [{"dst": r} for r in routes]}}
        self.base = Attachment(host, config, container, ifname=self.ifname, plugins=plugins)
        self.base.add()
        self.result, self.keys = None, {}

    def run(self, verb, result, plugins=None, keys=None, **changes):
        config = {"cniVersion": self.version, "name": NETWORK, "type": self.plugin, **(self.keys if keys is None else keys)}
        if result is not None:
            config["prevResult"] = result
        given = dict(cid=self.base.cid, netns=self.container.path, ifname=self.ifname)
        given.update(changes)
        return execute(self.host, plugins or self.plugins, self.plugin, verb, config, **given)

    def try_add(self, plugins=None, **keys):
        outcome = self.run("ADD", self.base.result, plugins, keys)
        if outcome.ok:
            self.result, self.keys = outcome.json, keys
        return outcome

    def add(self, plugins=None, **keys):
        return self.try_add(plugins, **keys).expect_ok().json

    def check(self):
        return self.run("CHECK", self.result)

    def delete(self, plugins=None, with_result=True, **changes):
        return self.run("DEL", self.result if with_result else None, plugins, **changes)


def router_reached(container, source, nets):
    """Which router's service answers a connection from this source address."""
    listeners = []
    for net in nets:
        with net.router.enter():
            server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((SERVICE, 8080))
        server.listen(1)
        server.settimeout(0.5)
        listeners.append(server)
    with container.enter():
        client = socket.socket()
    try:
        client.settimeout(2)
        client.bind((source, 0))
        client.connect((SERVICE, 8080))
        for net, server in zip(nets, listeners):
            try:
                return net.number, server.accept()[1][0]
            except TimeoutError:
                continue
        return None
    except OSError:
        return None
    finally:
        for one in (client, *listeners):
            one.close()
