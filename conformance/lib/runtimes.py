"""Real container runtimes in a private corner: own root, state, configuration; the host is a network namespace."""
import glob
import json
import os
import shutil
import subprocess
import time

from . import cni

BUSYBOX = "/usr/bin/busybox"


def make_rootfs(folder):
    """A root file system of busybox alone."""
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        os.makedirs(os.path.join(folder, name))
    shutil.copy(BUSYBOX, os.path.join(folder, "bin/busybox"))
    applets = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            os.symlink("busybox", os.path.join(folder, "bin", applet))
    return folder


def remove_cgroups(name):
    """The empty control groups that a runtime leaves, in every hierarchy."""
    for top in glob.glob(f"/sys/fs/cgroup/{name}") + glob.glob(f"/sys/fs/cgroup/*/{name}"):
        for base, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(base)
            except OSError:
                pass


class Podman:
    """podman with its CNI backend, runc, no systemd."""

    def __init__(self, host, plugins, folder, rootfs):
        self.host, self.folder, self.rootfs = host, str(folder), rootfs
        self.cgroup = f"culvert-podman-{os.getpid()}"
        self.network_dir = os.path.join(self.folder, "net.d")
        os.makedirs(self.network_dir)
        conf = os.path.join(self.folder, "containers.conf")
        with open(conf, "w") as f:
            f.write(f"""
[network]
network_backend = "cni"
cni_plugin_dirs = {json.dumps(plugins.folders)}
network_config_dir = "{self.network_dir}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
[containers]
log_driver = "k8s-file"
""")
        self.env = {"PATH": cni.SEARCH_PATH, "HOME": "/root", "CONTAINERS_CONF": conf}

    def _command(self, *arguments):
        return ["podman", "--root", f"{self.folder}/root", "--runroot", f"{self.folder}/runroot", "--tmpdir",
                f"{self.folder}/tmp", *arguments]

    def __call__(self, *arguments, check=True):
        with self.host.enter():
            done = subprocess.run(self._command(*arguments), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"podman {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def start(self, *arguments):
        with self.host.enter():
            return subprocess.Popen(self._command(*arguments), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, name, network, *options):
        return self("run", "-d", "--name", name, "--network", network, "--cgroup-parent", f"/{self.cgroup}", "--ulimit",
                    "nofile=1024:1024", "--ulimit", "nproc=1024:1024", *options, "--rootfs", self.rootfs, "sleep", "1000")

    def address(self, name, network):
        return json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"][network]["IPAddress"]

    def close(self):
        self("rm", "-f", "-t", "0", "-a", check=False)
        remove_cgroups(self.cgroup)


class Containerd:
    """containerd and ctr; ctr reads /etc/cni/net.d and /opt/cni/bin, which the caller has made private."""

    def __init__(self, host, folder, rootfs):
        self.host, self.folder, self.rootfs = host, str(folder), rootfs
        self.namespace = f"culvert-ctr-{os.getpid()}"
        self.address = f"{self.folder}/c.sock"
        os.makedirs(self.folder, exist_ok=True)
        with open(f"{self.folder}/config.toml", "w") as f:
            f.write(f"""
version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{self.address}"
""")
        with open(f"{self.folder}/log", "w") as log, host.enter():
            self.daemon = subprocess.Popen(["containerd", "-c", f"{self.folder}/config.toml"], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while subprocess.run(self._command("version"), capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                self.daemon.kill()
                raise AssertionError("containerd does not answer: " + open(f"{self.folder}/log").read()[-2000:])
            time.sleep(0.05)

    def _command(self, *arguments):
        return ["ctr", "-a", self.address, "-n", self.namespace, *arguments]

    def __call__(self, *arguments, check=True):
        with self.host.enter():
            done = subprocess.run(self._command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"ctr {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def start(self, *arguments):
        with self.host.enter():
            return subprocess.Popen(self._command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_in_foreground(self, name, seconds=1000):
        """ctr run --cni; ctr itself calls ADD before the process and DEL after it."""
        process = self.start("run", "--cni", "--rootfs", self.rootfs, name, "/bin/sleep", str(seconds))
        deadline = time.monotonic() + 20
        while name not in self.running():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"ctr run: {process.communicate()[0]}")
            time.sleep(0.05)
        return process

    def running(self):
        lines = [line.split() for line in self("task", "ls").splitlines()[1:]]
        return {fields[0]: int(fields[1]) for fields in lines if fields and fields[-1] == "RUNNING"}

    def exec(self, name, *command):
        return self("task", "exec", "--exec-id", cni.new_id("x"), name, *command)

    def close(self):
        for name in self("container", "ls", "-q", check=False).split():
            self("task", "rm", "-f", name, check=False)
            self("container", "rm", name, check=False)
        self.daemon.terminate()
        self.daemon.wait(20)
        remove_cgroups(self.namespace)
