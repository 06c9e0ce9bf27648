"""What the tests of `multi` share: a folder of networks, pods and definitions, and its configuration."""
import glob
import json
import os

from . import configs
from .cni import LATEST

NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
RECORDS, STATUS = "/var/lib/cni/multi", "/run/culvert/multi"


def without(config, *keys):
    return {k: v for k, v in config.items() if k not in keys}


def as_list(config):
    """A plugin's configuration as a list of one."""
    return {"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [without(config, "cniVersion", "name")]}


def definition(name, config=None, ns="default", annotations=None):
    metadata = {"name": name, "namespace": ns, **({"annotations": annotations} if annotations else {})}
    spec = {} if config is None else {"config": config if isinstance(config, str) else json.dumps(config)}
    return {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": metadata, "spec": spec}


def pod(name, ns="default", uid=None, **annotations):
    """annotations: networks=..., default=..., each text or a list."""
    keys = {"networks": NETWORKS, "default": DEFAULT_NETWORK}
    metadata = {"name": name, "namespace": ns, **({"uid": uid} if uid else {}),
                "annotations": {keys[k]: v if isinstance(v, str) else json.dumps(v) for k, v in annotations.items()}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}


def pod_args(name, ns=None, uid=None, **more):
    parts = {"IgnoreUnknown": "1", "K8S_POD_NAME": name, "K8S_POD_NAMESPACE": ns, "K8S_POD_UID": uid, **more}
    return ";".join(f"{k}={v}" for k, v in parts.items() if v is not None)


class Setup:
    """A folder of networks (confDir) and the configuration of `multi` that reads it."""

    def __init__(self, folder, version=LATEST, name="many", **keys):
        self.folder, self.data, self.version = folder / "net.d", folder / "data", version
        self.folder.mkdir(parents=True)
        self.data.mkdir()
        self.keys = {"cniVersion": version, "name": name, "type": "multi", "confDir": str(self.folder), **keys}

    def write(self, file_name, content):
        (self.folder / file_name).write_text(content if isinstance(content, str) else json.dumps(content))

    def network(self, config, **list_keys):
        """A conflist of one plugin, under its own name."""
        self.write(f"{config['name']}.conflist", {**as_list(config), **list_keys})

    def config(self, **keys):
        return {**self.keys, **keys}

    def cluster(self, **keys):
        self.network(configs.bridge(self.data, self.version, name="cluster", subnets=("10.20.0.0/24", "fd20::/64"),
                                    routes=("0.0.0.0/0", "::/0"), ipMasq=True, **keys))
        self.keys["clusterNetwork"] = "cluster"

    def bridge(self, name, subnet, routes=(), **keys):
        self.network(configs.bridge(self.data, self.version, name=name, subnets=(subnet,), routes=routes,
                                    **{"bridge": f"br-{name}", **keys}))

    def macvlan(self, name="wire", **keys):
        self.network(configs.macvlan(self.data, self.version, name=name, **keys))

    def ptp(self, name="direct", subnet="10.30.0.0/24", routes=(), **keys):
        self.network(configs.ptp(self.data, self.version, name=name, subnets=(subnet,), routes=routes, **keys))

    def reserved(self):
        """Addresses in use: {network: [address, ...]}."""
        found = {}
        for path in glob.glob(f"{self.data}/*/*"):
            name = os.path.basename(path)
            if name != "lock" and not name.startswith("last_reserved_ip."):
                found.setdefault(os.path.basename(os.path.dirname(path)), []).append(name)
        return found


def records():
    return glob.glob(f"{RECORDS}/*")


def status(attachment):
    with open(f"{STATUS}/{attachment.cid}-{attachment.ifname}.json") as f:
        return json.load(f)


def traces():
    """What multi itself keeps."""
    return records() + glob.glob(f"{STATUS}/*")
