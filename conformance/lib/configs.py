"""Network configurations that several tests use."""
from .cni import LATEST


def host_local(data_dir, *subnets, routes=(), **more):
    """ipam of host-local with one range set per subnet."""
    return {"type": "host-local", "dataDir": str(data_dir), "ranges": [[{"subnet": s}] for s in subnets],
            "routes": [{"dst": r} for r in routes], **more}


def bridge(data_dir, version=LATEST, name="blue", subnets=("10.20.0.0/24",), routes=("0.0.0.0/0",), **keys):
    return {"cniVersion": version, "name": name, "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": host_local(data_dir, *subnets, routes=routes), **keys}


def l2_bridge(version=LATEST, name="flat", **keys):
    return {"cniVersion": version, "name": name, "type": "bridge", "bridge": "cni0", **keys}


def ptp(data_dir, version=LATEST, name="direct", subnets=("10.30.0.0/24",), routes=("0.0.0.0/0",), **keys):
    return {"cniVersion": version, "name": name, "type": "ptp",
            "ipam": host_local(data_dir, *subnets, routes=routes), **keys}


def on_the_wire(data_dir, *subnets, **more):
    """ipam of containers that are neighbours of `outside` (198.18.0.2, fd18::2) on the uplink."""
    ranges = [[{"subnet": s, "rangeStart": s.split("/")[0][:-1] + "50" if "." in s else s.split("/")[0] + "50"}]
              for s in subnets]
    return {"type": "host-local", "dataDir": str(data_dir), "ranges": ranges, **more}


def container_link(kind, data_dir, version=LATEST, name="wire", subnets=("198.18.0.0/24",), **keys):
    """macvlan, ipvlan, vlan, dummy, tap: master is the uplink of `outside` where there is one."""
    own = {"macvlan": {"master": "uplink"}, "ipvlan": {"master": "uplink"}, "vlan": {"master": "uplink", "vlanId": 7}}
    return {"cniVersion": version, "name": name, "type": kind, **own.get(kind, {}),
            "ipam": on_the_wire(data_dir, *subnets), **keys}


def macvlan(data_dir, version=LATEST, **keys):
    return container_link("macvlan", data_dir, version, **keys)


def loopback(version=LATEST, name="lo"):
    return {"cniVersion": version, "name": name, "type": "loopback"}


def ipam_only(data_dir, version=LATEST, name="pool", subnets=("10.40.0.0/24",), **keys):
    """host-local called directly, as any interface plugin would delegate to it."""
    return {"cniVersion": version, "name": name, "type": "host-local",
            "ipam": host_local(data_dir, *subnets, **keys)}


def static_only(version=LATEST, name="fixed", addresses=("10.50.0.5/24",), gateway="10.50.0.1", routes=("0.0.0.0/0",)):
    entries = [{"address": a, **({"gateway": gateway} if gateway and ":" not in a else {})} for a in addresses]
    return {"cniVersion": version, "name": name, "type": "static",
            "ipam": {"type": "static", "addresses": entries, "routes": [{"dst": r} for r in routes]}}


def textbook(**changes):
    """The configuration of the Kubernetes courses, letter for letter but for what a test changes."""
    return {"cniVersion": "0.2.0", "name": "mynet", "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "subnet": "10.22.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}, **changes}
