"""The three sources (and a real kube-apiserver) behind one face, for test_sources.py: what a test does to each."""
import base64
import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

from lib import api_server, daemon, kube_api

KINDS = {"nodes": "Node", "pods": "Pod", "ippools": "IPPool"}
VERSIONS = {"nodes": "v1", "pods": "v1", "ippools": "culvert.dev/v1"}
GROUPS = {"nodes": "core", "pods": "core", "ippools": "culvert.dev"}
PATIENCE = 20


def obj(name, kind="nodes", ns=None, labels=None, **spec):
    meta = {"name": name, **({"namespace": ns} if ns else {}), **({"labels": labels} if labels else {})}
    return {"apiVersion": VERSIONS[kind], "kind": KINDS[kind], "metadata": meta, "spec": spec}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(check, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        try:
            return check()
        except (AssertionError, OSError, subprocess.SubprocessError):
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


class Tool:
    """`culvertctl source` with one configuration."""

    def __init__(self, config, folder):
        self.file = os.path.join(str(folder), f"source-{time.monotonic_ns()}.yaml")
        with open(self.file, "w") as f:
            json.dump({"source": config}, f)

    def command(self, *words):
        return [daemon.CULVERTCTL, "source", "--config", self.file, *words]

    def run(self, *words, stdin=None):
        done = subprocess.run(self.command(*words), input=json.dumps(stdin) if stdin is not None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert not done.stderr, done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def increment(self, kind, name):
        """spec.count, by compare and swap: again until nobody came between."""
        while True:
            found = self.one("get", kind, name)
            found["spec"]["count"] += 1
            if "error" not in (answer := self.one("update", kind, stdin=found)):
                return
            assert answer["error"] == "conflict", answer

    def one(self, *words, stdin=None):
        """The one object, or the one error, that it answers."""
        _, lines = self.run(*words, stdin=stdin)
        assert len(lines) == 1, lines
        return lines[0]


class Watch:
    """`culvertctl source watch`, and what it said so far."""

    def __init__(self, tool, *words, kind="nodes"):
        self.process = subprocess.Popen(tool.command(*words, "watch", kind), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.events, self.known, self.status = queue.Queue(), [], {}, {}
        self.completes = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def take(self, timeout):
        line = self.lines.get(timeout=timeout)
        assert line is not None, "the watch ended: " + self.process.stderr.read()
        if line["event"] == "status":
            self.status = line
            return
        self.events.append((line["event"], line.get("key")))
        if line["event"] == "object":
            self.known[line["key"]] = line["object"]
        elif line["event"] == "removed":
            del self.known[line["key"]]
        else:
            self.completes += 1

    def until(self, condition, patience=PATIENCE):
        end = time.monotonic() + patience
        while not condition(self):
            try:
                self.take(max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not in time; status {self.status}; knows {sorted(self.known)[:20]}; "
                                     f"last {self.events[-10:]}") from None
        return self

    def until_complete(self):
        return self.until(lambda w: w.completes and w.status.get("state") == "live")

    def until_knows(self, **counts):
        """Names to spec.count, and nothing else."""
        return self.until(lambda w: {k: o["spec"].get("count") for k, o in w.known.items()} == counts)

    def quiet(self, seconds=0.5):
        """The objects' events that come within `seconds`."""
        before, end = len(self.events), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.take(left)
            except queue.Empty:
                break
        return self.events[before:]

    def close(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        errors = self.process.stderr.read()
        self.process.stdout.close(), self.process.stderr.close()
        assert code == 0 and not errors, errors


class Dir:
    name = "dir"

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "objects")
        self.away = self.path + ".away"
        os.mkdir(self.path)
        self.tool = Tool({"type": "dir", "dir": {"path": self.path}}, folder)

    def file(self, one):
        meta = one["metadata"]
        return os.path.join(self.path, f"{one['kind'].lower()}-{meta.get('namespace', '')}-{meta['name']}.json")

    def put(self, *objects):
        for one in objects:
            with open(self.file(one) + ".tmp", "w") as f:
                json.dump(one, f)
            os.rename(self.file(one) + ".tmp", self.file(one))

    def delete(self, one):
        os.unlink(self.file(one))

    def malformed(self, one):
        with open(self.file(one), "w") as f:
            f.write('{"kind": "Node",\n "metadata": {')

    def stop(self):
        os.rename(self.path, self.away)
        os.mkdir(self.path + ".hidden")

    def start(self):
        os.rmdir(self.path + ".hidden")
        os.rename(self.away, self.path)

    def put_away(self, *objects):
        """While it is stopped."""
        self.path, self.away = self.away, self.path
        self.put(*objects)
        self.path, self.away = self.away, self.path

    def delete_away(self, one):
        self.path, self.away = self.away, self.path
        self.delete(one)
        self.path, self.away = self.away, self.path

    def close(self):
        pass


class Etcd:
    name = "etcd"

    def __init__(self, folder, tls=None):
        self.data = os.path.join(str(folder), f"etcd-{time.monotonic_ns()}")
        self.port, self.peer = free_port(), free_port()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.extra = ["--cert-file", tls[0], "--key-file", tls[1], "--trusted-ca-file", tls[2], "--client-cert-auth"] if tls else []
        self.process = None
        self.client_flags = ["--cacert", tls[2], "--cert", tls[3], "--key", tls[4]] if tls else []
        self.start()
        self.config = {"endpoints": [self.url], "timeoutSeconds": 5}
        self.tool = Tool({"type": "etcd", "etcd": self.config}, folder)

    def start(self):
        peer = f"http://127.0.0.1:{self.peer}"
        self.process = subprocess.Popen(
            ["/usr/bin/etcd", "--name", "a", "--data-dir", self.data, "--listen-client-urls", self.url,
             "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"a={peer}", "--log-level", "error", "--unsafe-no-fsync", *self.extra],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: self.etcdctl("endpoint", "health"))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def etcdctl(self, *words, stdin=None):
        done = subprocess.run(["etcdctl", "--endpoints", self.url, *self.client_flags, *words], input=stdin, text=True,
                              env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def key(one):
        plural = one["kind"].lower() + "s"
        meta = one["metadata"]
        return "/".join(filter(None, ["/culvert", GROUPS[plural], plural, meta.get("namespace"), meta["name"]]))

    def put(self, *objects):
        if len(objects) == 1:
            return self.etcdctl("put", self.key(objects[0]), json.dumps(objects[0]))
        encode = lambda text: base64.b64encode(text.encode()).decode()  # noqa: E731
        puts = [{"request_put": {"key": encode(self.key(o)), "value": encode(json.dumps(o))}} for o in objects]
        for at in range(0, len(puts), 100):
            body = json.dumps({"success": puts[at:at + 100]}).encode()
            with urllib.request.urlopen(self.url + "/v3/kv/txn", body, timeout=30) as answer:
                assert json.load(answer)["succeeded"]
        return None

    def delete(self, one):
        self.etcdctl("del", self.key(one))

    def malformed(self, one):
        self.etcdctl("put", self.key(one), '{"kind": ')

    def compact(self):
        answer = json.loads(self.etcdctl("get", "x", "-w", "json"))
        self.etcdctl("compact", str(answer["header"]["revision"]))

    def close(self):
        self.stop()


class Kubernetes:
    """The test server of lib/kube_api.py, through a kubeconfig."""
    name = "kubernetes"

    def __init__(self, folder, **options):
        self.folder = str(folder)
        self.authority = api_server.Authority(self.folder)
        self.api = kube_api.KubeApi(self.folder, self.authority, **options)
        self.tool = self.tool_with({"token": kube_api.TOKEN})

    def tool_with(self, user, authority=None, **more):
        path = os.path.join(self.folder, f"kubeconfig-{time.monotonic_ns()}")
        with open((authority or self.authority).certificate, "rb") as f:
            data = base64.b64encode(f.read()).decode()
        with open(path, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                       "clusters": [{"name": "c", "cluster": {"server": self.api.url, "certificate-authority-data": data}}],
                       "users": [{"name": "u", "user": user}]}, f)
        self.kubeconfig = path
        return Tool({"type": "kubernetes", "kubernetes": {"kubeconfig": path, **more}}, self.folder)

    @staticmethod
    def path(one, name=True):
        plural = one["kind"].lower() + "s"
        version = one["apiVersion"]
        parts = ["/api" if "/" not in version else "/apis", version]
        if ns := one["metadata"].get("namespace"):
            parts += ["namespaces", ns]
        return "/".join([*parts, plural, *([one["metadata"]["name"]] if name else [])])

    def put(self, *objects):
        if len(objects) > 5:
            return self.api.control("fill", objects=objects)
        for one in objects:
            try:
                self.api.request("POST", self.path(one, name=False), one)
            except OSError as error:
                assert error.code == 409, error
                self.api.request("PUT", self.path(one), one)
        return None

    def delete(self, one):
        self.api.request("DELETE", self.path(one))

    def compact(self):
        self.api.control("compact")

    def stop(self):
        self.api.stop()

    def start(self):
        self.api.start()

    def close(self):
        self.api.kill()


class RealKubernetes(Kubernetes):
    """kube-apiserver and etcd from $KUBEBUILDER_ASSETS (the envtest convention)."""
    name = "kube-apiserver"

    def __init__(self, folder):
        self.folder = str(folder)
        self.authority = api_server.Authority(self.folder)
        self.assets = os.environ["KUBEBUILDER_ASSETS"]
        self.port = free_port()
        self.certificate = self.authority.issue("apiserver", "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost", rsa=True)
        with open(f"{self.folder}/tokens.csv", "w") as f:
            f.write(f'{kube_api.TOKEN},admin,admin,"system:masters"\n')
        self.etcd = Etcd(folder)
        self.api = self
        self.url, self.token = f"https://127.0.0.1:{self.port}", kube_api.TOKEN
        self.context = kube_api.ssl.create_default_context(cafile=self.authority.certificate)
        self.start()
        self.tool = self.tool_with({"token": kube_api.TOKEN})

    request = kube_api.KubeApi.request

    def start(self):
        certificate, key = self.certificate
        self.process = subprocess.Popen(
            [os.path.join(self.assets, "kube-apiserver"), "--etcd-servers", self.etcd.url, "--secure-port", str(self.port),
             "--bind-address", "127.0.0.1", "--tls-cert-file", certificate, "--tls-private-key-file", key,
             "--token-auth-file", f"{self.folder}/tokens.csv", "--authorization-mode", "RBAC", "--service-account-issuer", "https://x",
             "--service-account-key-file", key, "--service-account-signing-key-file", key, "--cert-dir", self.folder,
             "--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: self.request("GET", "/api/v1/nodes"), patience=120)

    def put(self, *objects):
        for at in range(0, len(objects), 5):
            super().put(*objects[at:at + 5])

    def compact(self):
        self.etcd.compact()

    def stop(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.stop()
        self.etcd.close()


def available():
    kinds = {"dir": Dir, "etcd": Etcd, "kubernetes": Kubernetes}
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and shutil.which("kube-apiserver", path=assets):
        kinds["kube-apiserver"] = RealKubernetes
    return kinds
