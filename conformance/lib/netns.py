"""Network namespaces that cannot leak.

`isolate()` moves the calling process into its own mount and network namespace, with private
copies of the folders that plugins write to. Everything made afterwards (namespaces are bind
mounts below /run/netns) disappears with the process, also when it is killed, and the machine's
own network namespace is out of reach by accident.
"""
import contextlib
import ctypes
import itertools
import json
import os
import shutil
import subprocess
import threading

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PRIVATE_FOLDERS = ("/run/netns", "/run/culvert", "/var/lib/cni", "/run/cni")
# The kernel puts these into every namespace once the module is loaded (net.core.fb_tunnels_only_for_init_net).
FALLBACK_TUNNELS = {"tunl0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip6gre0", "sit0", "ip_vti0", "ip6_vti0"}
PREFIX = os.environ.get("CULVERT_TEST_PREFIX", "cvt")

_libc = ctypes.CDLL(None, use_errno=True)
_count = itertools.count()
_isolated = False


def _check(rc, what):
    if rc != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")


def mount_tmpfs(folder):
    os.makedirs(folder, exist_ok=True)
    _check(_libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"mode=0755"), f"tmpfs on {folder}")


def bind_mount(source, target):
    _check(_libc.mount(source.encode(), target.encode(), None, 0x1000, None), f"bind {source} on {target}")


def isolate(extra_folders=()):
    """Private mount and network namespace for this process; call before starting any thread."""
    global _isolated
    if _isolated:
        return
    if os.geteuid() != 0:
        raise SystemExit("the conformance suite needs root: network namespaces and links are real")
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
    for folder in (*PRIVATE_FOLDERS, *extra_folders):
        mount_tmpfs(folder)
    _isolated = True


def empty_folders(folders=tuple(f for f in PRIVATE_FOLDERS if f != "/run/netns")):
    """As on a machine that has just started."""
    assert _isolated, "isolate() first"
    for folder in folders:
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def private_mounts():
    """The calling thread gets mounts of its own, and empty plugin folders; namespaces made before stay usable."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    # `ip netns add` shares /run/netns; without this the threads would mount over each other.
    _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
    for folder in PRIVATE_FOLDERS:
        mount_tmpfs(folder)


class NetNs:
    """A named network namespace; `path` is what goes into CNI_NETNS."""

    def __init__(self, label="ns"):
        assert _isolated, "isolate() first"
        self.name = f"{PREFIX}-{label}{next(_count)}"
        self.path = f"/run/netns/{self.name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        # A fresh namespace copies IPv4 defaults from the machine's own: begin from known values.
        self.sysctl("net/ipv4/ip_forward", 0)
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def enter(self):
        """The calling thread is in this namespace inside the block, and so is what it starts."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(there, CLONE_NEWNET), f"setns {self.path}")
            try:
                yield self
            finally:
                if _libc.setns(home, CLONE_NEWNET) != 0:
                    os.abort()  # going on in the wrong namespace would be worse
        finally:
            os.close(there)
            os.close(home)

    def run(self, *command, check=True, stdin=None, timeout=120):
        """Run a command inside; its standard output as text."""
        with self.enter():
            done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def ip(self, *arguments, check=True):
        return self.run("ip", *arguments, check=check)

    def sysctl(self, key, value=None):
        """Read, or with a value write, /proc/sys/<key> of this namespace."""
        path = f"/proc/sys/{key}"
        with self.enter():
            if value is None:
                with open(path) as f:
                    return f.read().strip()
            with open(path, "w") as f:
                f.write(str(value))
        return None

    def links(self):
        """Names of the links inside, without lo and the kernel's fallback tunnels."""
        with self.enter():
            with open("/proc/self/task/%d/net/dev" % threading.get_native_id()) as f:
                names = [line.split(":")[0].strip() for line in f if ":" in line]
        return sorted(n for n in names if n != "lo" and n not in FALLBACK_TUNNELS)

    def delete(self):
        subprocess.run(["ip", "netns", "del", self.name], stderr=subprocess.DEVNULL)


class Namespaces:
    """Makes namespaces and removes them all at the end, whatever happened in between."""

    def __init__(self):
        self._made = []

    def new(self, label="ns"):
        ns = NetNs(label)
        self._made.append(ns)
        return ns

    def drop(self, ns):
        ns.delete()
        self._made.remove(ns)

    def close(self):
        while self._made:
            self._made.pop().delete()


def join(a, b, a_name, b_name, a_address, b_address):
    """A wire between two namespaces: a veth pair with addresses at each end, usable at once.

    The kernel takes up to a second until IPv6 answers on a new link; each end knows the other instead.
    """
    a.ip("link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.name)
    for ns, name, address in ((a, a_name, a_address), (b, b_name, b_address)):
        for one in address if isinstance(address, (list, tuple)) else [address]:
            options = ["nodad"] if ":" in one else []
            ns.ip("address", "add", one, "dev", name, *options)
        ns.ip("link", "set", name, "up")
    for ns, name, other, other_name, addresses in ((a, a_name, b, b_name, b_address), (b, b_name, a, a_name, a_address)):
        mac = json.loads(other.ip("-j", "link", "show", "dev", other_name))[0]["address"]
        for one in addresses if isinstance(addresses, (list, tuple)) else [addresses]:
            ns.ip("neigh", "replace", one.split("/")[0], "lladdr", mac, "dev", name)
