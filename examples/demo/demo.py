#!/usr/bin/python3
"""The demo: two podman containers on a Culvert bridge, step by step.

Run through `sudo ./dev demo`. The "host" is a network namespace, so the machine's own network is never touched;
podman, its containers, the plugins and the packets are real. CULVERT_CNI_DIR names another plugin directory.
"""
import contextlib
import glob
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../conformance"))

from lib import cni, netns, nft  # noqa: E402

CGROUP = "culvert-demo"
HOST, SERVER = "198.18.0.1", "198.18.0.2"
CONTAINERS = ("one", "two")
PICTURE = f"""
   one           two                  two containers, run by podman
    |             |
  ==+== culvert0 =+==  10.88.0.1/24   a bridge, made by Culvert's CNI plugin
            |
          (host)  {HOST}          a network namespace that plays the host
            |
         outside  {SERVER}          a web server that tells its clients which address it saw
"""


class Report:
    """The table: what was done, what was seen, and whether that is as it should be."""

    def __init__(self):
        self.failures = 0
        self.row("WHAT", "SEEN", "")

    def row(self, what, seen, verdict):
        print(f"  {what:<42} {seen:<58} {verdict}".rstrip(), flush=True)

    def expect(self, what, seen, right):
        self.failures += not right
        self.row(what, seen, "ok" if right else "FAILED")


class WhoAmI(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_server(outside):
    with outside.enter():  # a socket stays in the namespace it was made in
        server = http.server.HTTPServer((SERVER, 80), WhoAmI)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


class Podman:
    """Podman with folders of its own, so that the machine's podman sees nothing of this."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self._write_configuration()

    def _write_configuration(self):
        plugins, networks = self._make("plugins"), self._make("networks")
        shutil.copy(os.path.join(HERE, "plugin-stopwatch"), os.path.join(plugins, "bridge"))
        os.symlink(os.path.join(cni.OURS_DIR, "host-local"), os.path.join(plugins, "host-local"))
        os.symlink(cni.OURS_DIR, os.path.join(self.folder, "timed"))
        shutil.copy(os.path.join(HERE, "culvert.conflist"), networks)
        with open(os.path.join(self.folder, "containers.conf"), "w") as f:
            f.write(f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["{plugins}"]\n'
                    f'network_config_dir = "{networks}"\n[engine]\nevents_logger = "none"\n')

    def _make(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        return path

    def __call__(self, *arguments):
        """Runs podman on the host; its output."""
        env = {**os.environ, "CONTAINERS_CONF": os.path.join(self.folder, "containers.conf")}
        command = ["podman", "--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir",
                   f"{self.folder}/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime",
                   "runc", *arguments]
        with self.host.enter():
            done = subprocess.run(["timeout", "30", *command], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True)
        if done.returncode != 0:
            words = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
            raise RuntimeError(f"podman {arguments[0]}: {words}")
        return done.stdout.strip()

    def run(self, name):
        """Starts a container with busybox as its whole file system; returns its address."""
        root = self._make(f"rootfs-{name}")
        os.makedirs(f"{root}/bin")
        shutil.copy("/bin/busybox", f"{root}/bin/")
        self("run", "--detach", "--name", name, "--network", "demo", "--cgroup-parent", f"/{CGROUP}",
             "--cap-add", "NET_RAW", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
             "--rootfs", root, "/bin/busybox", "sleep", "600")
        return self("inspect", "--format", "{{.NetworkSettings.Networks.demo.IPAddress}}", name)

    def close(self):
        """Removes what a run that stopped half-way left."""
        with contextlib.suppress(RuntimeError):
            self("rm", "--all", "--force", "--time", "0")
        remove_cgroups()

    def milliseconds(self, verb):
        """How long the plugin took, call by call."""
        with open(os.path.join(self.folder, "times")) as f:
            return [int(line.split()[2]) / 1000 for line in f if line.startswith(verb)]


def remove_cgroups():
    """Podman leaves the parent behind: below /sys/fs/cgroup, once in each hierarchy."""
    for parent in glob.glob(f"/sys/fs/cgroup/{CGROUP}") + glob.glob(f"/sys/fs/cgroup/*/{CGROUP}"):
        for folder, _, _ in os.walk(parent, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def busybox(podman, container, *command):
    """Runs a busybox applet in a container; the output, or the error in its place."""
    try:
        return podman("exec", container, "/bin/busybox", *command)
    except RuntimeError as error:
        return str(error)


def collect_garbage(host):
    """CNI's GC with an empty list: no container is valid any more."""
    with open(os.path.join(HERE, "culvert.conflist")) as f:
        config = json.load(f)["plugins"][0]
    return cni.gc(host, {**config, "cniVersion": "1.1.0", "name": "demo"}, [])


def reservations():
    folder = "/var/lib/cni/networks/demo"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if name[0].isdigit())


def listed(names):
    return ", ".join(names) or "none"


def attach(podman, report):
    addresses = {}
    for name in CONTAINERS:
        addresses[name] = podman.run(name)
        took = podman.milliseconds("ADD")[-1]
        report.expect(f"podman run {name}", f"has {addresses[name]}; the plugin's ADD took {took:.1f} ms",
                      addresses[name].startswith("10.88.0."))
    return addresses


def talk(podman, report, addresses):
    for source, target in (CONTAINERS, CONTAINERS[::-1]):
        answer = busybox(podman, source, "ping", "-c", "1", "-W", "2", addresses[target])
        times = [word for word in answer.split() if word.startswith("time=")]
        report.expect(f"{source} pings {target}, {addresses[target]}", " ".join(times) + " ms" if times else answer[-58:],
                      bool(times))
    for name in CONTAINERS:
        seen = busybox(podman, name, "wget", "-q", "-O", "-", f"http://{SERVER}/")
        report.expect(f"{name} asks the web server outside", f"which saw {seen}: the host, masqueraded" if seen == HOST
                      else f"which saw {seen[-140:]}", seen == HOST)


def traces(host):
    links = [link for link in host.links() if link != "uplink"]
    tables = [" ".join(table) for table in nft.tables(host)]
    return links, tables, reservations()


def show_host(host, report):
    links, tables, reserved = traces(host)
    report.expect("links on the host", listed(links), "culvert0" in links and len(links) == 3)
    report.expect("nftables tables on the host", listed(tables), bool(tables))
    report.expect("addresses reserved", listed(reserved), len(reserved) == 2)


def detach(podman, host, report):
    for name in CONTAINERS:
        podman("rm", "--force", "--time", "0", name)
        report.row(f"podman rm {name}", f"the plugin's DEL took {podman.milliseconds('DEL')[-1]:.1f} ms", "ok")
    outcome = collect_garbage(host)
    report.expect("GC: no container is valid any more", outcome.words[:58] or "done", outcome.ok)
    for what, left in zip(("links", "nftables tables", "addresses reserved"), traces(host)):
        report.expect(f"{what} left", listed(left), not left)


def demonstrate(report, folder):
    host, outside = netns.NetNs("host"), netns.NetNs("outside")
    netns.join(host, outside, "uplink", "eth0", f"{HOST}/24", f"{SERVER}/24")
    podman = Podman(host, folder)
    with web_server(outside), contextlib.closing(podman):
        addresses = attach(podman, report)
        talk(podman, report, addresses)
        show_host(host, report)
        detach(podman, host, report)


def main():
    netns.isolate()
    print(PICTURE)
    report, started = Report(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="culvert-demo-") as folder:
        try:
            demonstrate(report, folder)
        except (RuntimeError, OSError) as error:
            report.expect("stopped", str(error), False)
    took = time.monotonic() - started
    print(f"\n{'Everything worked' if not report.failures else f'{report.failures} FAILED'}, in {took:.0f} s; "
          "the machine's own network was not touched.")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
