#!/usr/bin/python3
"""The demo: two containers on a Culvert bridge, step by step.

Run through `sudo ./dev demo`. The "host" is a network namespace, so the machine's own network is never touched;
podman (or containerd), the containers, the plugins and the packets are real. CULVERT_CNI_DIR names another plugin directory.
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
   one           two                  two real containers
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
        print(f"  {what:<42} {seen:<60} {verdict}".rstrip(), flush=True)

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


class Runtime:
    """What podman and containerd have in common: the plugin directory, timed, and busybox as a container."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.plugins, self.networks = self._make("plugins"), self._make("networks")
        shutil.copy(os.path.join(HERE, "plugin-stopwatch"), os.path.join(self.plugins, "bridge"))
        os.symlink(os.path.join(cni.OURS_DIR, "host-local"), os.path.join(self.plugins, "host-local"))
        os.symlink(cni.OURS_DIR, os.path.join(self.plugins, "timed"))
        shutil.copy(os.path.join(HERE, "culvert.conflist"), self.networks)

    def _make(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        return path

    def _root_file_system(self, name):
        root = self._make(f"rootfs-{name}")
        os.makedirs(f"{root}/bin")
        shutil.copy("/bin/busybox", f"{root}/bin/")
        return root

    def call(self, *command, env=()):
        """Runs a command on the host; its output."""
        with self.host.enter():
            done = subprocess.run(["timeout", "30", *command], env={**os.environ, **dict(env)},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            words = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
            raise RuntimeError(f"{command[0]}: {words}")
        return done.stdout.strip()

    def busybox(self, container, *command):
        """Runs a busybox applet in a container; the output, or the error in its place."""
        try:
            return self.execute(container, "/bin/busybox", *command)
        except RuntimeError as error:
            return str(error)

    def milliseconds(self, verb):
        """How long the plugin took, call by call."""
        with open(os.path.join(self.plugins, "times")) as f:
            return [int(line.split()[2]) / 1000 for line in f if line.startswith(verb)]


class Podman(Runtime):
    """Podman with folders of its own, so that the machine's podman sees nothing of this."""
    name = "podman"

    def __init__(self, host, folder):
        super().__init__(host, folder)
        with open(os.path.join(folder, "containers.conf"), "w") as f:
            f.write(f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["{self.plugins}"]\n'
                    f'network_config_dir = "{self.networks}"\n[engine]\nevents_logger = "none"\n')

    def _podman(self, *arguments):
        return self.call("podman", "--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir",
                         f"{self.folder}/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime",
                         "runc", *arguments, env={"CONTAINERS_CONF": f"{self.folder}/containers.conf"})

    def run(self, name):
        """Starts a container; returns its address."""
        self._podman("run", "--detach", "--name", name, "--network", "demo", "--cgroup-parent", f"/{CGROUP}",
                     "--cap-add", "NET_RAW", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
                     "--rootfs", self._root_file_system(name), "/bin/busybox", "sleep", "600")
        return self._podman("inspect", "--format", "{{.NetworkSettings.Networks.demo.IPAddress}}", name)

    def execute(self, name, *command):
        return self._podman("exec", name, *command)

    def remove(self, name):
        self._podman("rm", "--force", "--time", "0", name)

    def close(self):
        """Removes what a run that stopped half-way left."""
        with contextlib.suppress(RuntimeError):
            self._podman("rm", "--all", "--force", "--time", "0")
        remove_cgroups()


class Containerd(Runtime):
    """Where podman knows no CNI (Debian 13): a containerd of our own, and `ctr run --cni`."""
    name = "ctr"

    def __init__(self, host, folder):
        super().__init__(host, folder)
        self._offer(self.networks, "/etc/cni/net.d")
        self._offer(self.plugins, "/opt/cni/bin")
        self.running = {}
        self.daemon = self._start_daemon()

    def _offer(self, source, place):
        """Puts a folder where ctr looks, in this process's own mounts; the machine's files stay as they are."""
        top = "/" + place.split("/")[1]
        upper, work = self._make(f"upper{top}"), self._make(f"work{top}")
        subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={top},upperdir={upper},workdir={work}", "overlay", top],
                       check=True)
        os.makedirs(place, exist_ok=True)
        netns.bind_mount(source, place)

    def _start_daemon(self):
        config = os.path.join(self.folder, "containerd.toml")
        with open(config, "w") as f:
            f.write(f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
                    f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.folder}/socket"\n')
        with open(os.path.join(self.folder, "containerd.log"), "w") as log:
            daemon = subprocess.Popen(["containerd", "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: os.path.exists(f"{self.folder}/socket") and self._tasks() is not None, "containerd answers")
        return daemon

    def _command(self, *arguments):
        return ["ctr", "--address", f"{self.folder}/socket", "--namespace", "demo", *arguments]

    def _tasks(self):
        """Names of the running containers; None if containerd does not answer."""
        with contextlib.suppress(RuntimeError):
            return [line.split()[0] for line in self.call(*self._command("task", "list")).splitlines() if "RUNNING" in line]
        return None

    def run(self, name):
        """Starts a container; returns its address. In the foreground, because only then does ctr call DEL."""
        command = self._command("run", "--cni", "--cgroup", f"/{CGROUP}/{name}", "--rootfs",
                                self._root_file_system(name), name, "/bin/busybox", "sleep", "600")
        with self.host.enter():
            self.running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                                  stderr=subprocess.STDOUT, text=True)
        wait_until(lambda: name in (self._tasks() or []) or self.running[name].poll() is not None, f"{name} runs")
        if self.running[name].poll() is not None:
            raise RuntimeError(f"ctr run: {self.running.pop(name).stdout.read().strip()}")
        return self.execute(name, "/bin/busybox", "ip", "-4", "-o", "addr", "show", "eth0").split()[3].split("/")[0]

    def execute(self, name, *command):
        return self.call(*self._command("task", "exec", "--exec-id", f"e{time.monotonic_ns()}", name, *command))

    def remove(self, name):
        self.call(*self._command("task", "kill", "--signal", "SIGKILL", name))
        self.running.pop(name).wait(30)

    def close(self):
        """Ends what a run that stopped half-way left, and containerd."""
        for name in list(self.running):
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                self.remove(name)
        self.daemon.terminate()
        self.daemon.wait()
        remove_cgroups()


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not after {seconds} s: {what}")
        time.sleep(0.05)


def remove_cgroups():
    """Runtimes leave the parent behind, once in each hierarchy; its last process takes a moment to go."""
    def gone():
        parents = glob.glob(f"/sys/fs/cgroup/{CGROUP}") + glob.glob(f"/sys/fs/cgroup/*/{CGROUP}")
        for folder in (folder for parent in parents for folder, _, _ in os.walk(parent, topdown=False)):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(map(os.path.exists, parents))

    wait_until(gone, f"cgroup {CGROUP} is empty")


def choose_runtime():
    """Podman up to version 4 in Debian is built with CNI, later ones are not."""
    if shutil.which("podman"):
        version = subprocess.run(["podman", "--version"], capture_output=True, text=True).stdout.split()[-1]
        if int(version.split(".")[0]) < 5:
            return Podman
    return Containerd


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


def attach(runtime, report):
    addresses = {}
    for name in CONTAINERS:
        addresses[name] = runtime.run(name)
        took, bridge = runtime.milliseconds("ADD")[-1], ", bridge included" if len(addresses) == 1 else ""
        report.expect(f"{runtime.name} run {name}", f"has {addresses[name]}; the plugin's ADD took {took:.1f} ms{bridge}",
                      addresses[name].startswith("10.88.0."))
    return addresses


def talk(runtime, report, addresses):
    for source, target in (CONTAINERS, CONTAINERS[::-1]):
        answer = runtime.busybox(source, "ping", "-c", "1", "-W", "2", addresses[target])
        times = [word for word in answer.split() if word.startswith("time=")]
        report.expect(f"{source} pings {target}, {addresses[target]}", " ".join(times) + " ms" if times else answer[-58:],
                      bool(times))
    for name in CONTAINERS:
        seen = runtime.busybox(name, "wget", "-q", "-O", "-", f"http://{SERVER}/")
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


def detach(runtime, host, report):
    for name in CONTAINERS:
        before = len(runtime.milliseconds("DEL"))
        runtime.remove(name)
        times = runtime.milliseconds("DEL")[before:]  # newer containerd calls it twice
        report.expect(f"{runtime.name} removes {name}", f"the plugin's DEL took {max(times):.1f} ms" if times else "no DEL",
                      bool(times))
    outcome = collect_garbage(host)
    report.expect("GC: no container is valid any more", outcome.words[:58] or "done", outcome.ok)
    for what, left in zip(("links", "nftables tables", "addresses reserved"), traces(host)):
        report.expect(f"{what} left", listed(left), not left)


def demonstrate(report, folder):
    host, outside = netns.NetNs("host"), netns.NetNs("outside")
    netns.join(host, outside, "uplink", "eth0", f"{HOST}/24", f"{SERVER}/24")
    with web_server(outside), contextlib.closing(choose_runtime()(host, folder)) as runtime:
        addresses = attach(runtime, report)
        talk(runtime, report, addresses)
        show_host(host, report)
        detach(runtime, host, report)


def main():
    netns.isolate()
    print(PICTURE)
    report, started = Report(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="culvert-demo-", ignore_cleanup_errors=True) as folder:
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
