"""Runs culvertd and culvertctl, and listens to what the daemon tells its service manager."""
import http.client
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time

from lib.cni import ROOT

BIN = os.environ.get("CULVERT_BIN_DIR", os.path.join(ROOT, "build/release/bin"))
CULVERTD = os.path.join(BIN, "culvertd")
CULVERTCTL = os.path.join(BIN, "culvertctl")
SOCKET = "/run/culvert/culvertd.sock"
PATIENCE = 60  # seconds until a test gives up; nothing takes that long unless it hangs

_count = itertools.count()


def environment(**more):
    """What a service manager would give it: nothing of the caller's that configures it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CULVERT_") and k != "NODE_NAME"}
    return {**clean, **more}


def check(*flags, env=None):
    return subprocess.run([CULVERTD, "--check", *flags], env=environment(**(env or {})), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=PATIENCE)


def ctl(*arguments, **options):
    return subprocess.run([CULVERTCTL, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=PATIENCE, **options)


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, ns, abstract=False):
        name = f"/run/culvert/notify-{next(_count)}"
        self.address = "@" + name[1:] if abstract else name
        with ns.enter():  # abstract names belong to a network namespace
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if abstract else name)
        self.heard = []

    def await_message(self, wanted):
        """Everything said until a message with the line `wanted`, that one included."""
        since = len(self.heard)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self.socket], [], [], 0.1)[0]:
                self.heard.append(self.socket.recv(65536).decode())
                if wanted in self.heard[-1].split("\n"):
                    return self.heard[since:]
        raise AssertionError(f"no {wanted} within {PATIENCE} s, only {self.heard[since:]}")

    def close(self):
        self.socket.close()


class Daemon:
    """One culvertd in the namespace `ns`, ready when the constructor returns."""

    def __init__(self, ns, *flags, env=None, executable=CULVERTD, abstract=False):
        os.makedirs("/run/culvert", exist_ok=True)
        self.ns = ns
        self.manager = Manager(ns, abstract)
        variables = environment(NOTIFY_SOCKET=self.manager.address, **(env or {}))
        with ns.enter():
            self.process = subprocess.Popen([executable, *flags], env=variables, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        try:
            self.manager.await_message("READY=1")
        except AssertionError:
            self.process.kill()
            self.reader.join()
            raise AssertionError(f"culvertd did not start: {self.log()}") from None

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return "".join(self.lines)

    def tell(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.tell(number)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.manager.close()
        return code

    def http(self, port, path, method="GET", body=None):
        """Status and text of one request to a port of this node."""
        with self.ns.enter():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.connect()
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def tcp(self, port):
        with self.ns.enter():
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def control(self, path, method="GET", body=None):
        """Status and JSON of one request to the control socket."""
        return control(path, method, body)

    def status(self):
        return self.control("/v1/status")[1]


class _UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(SOCKET)


def control(path, method="GET", body=None):
    connection = _UnixConnection("culvertd")
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
