"""A segment with DHCP servers on it, and our daemon on the host.

Real servers (dnsmasq, kea) show that we speak the protocol; FakeServer says what no real server would.
"""
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

from . import cni

SUBNET = "10.90.0"
SERVER, ROUTER, DNS = f"{SUBNET}.2", f"{SUBNET}.1", f"{SUBNET}.53"
SERVER6, DNS6 = "fd90::2", "fd90::53"
SOCKET, STATE = "/run/cni/dhcp.sock", "/run/culvert/dhcp"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
MASK, ROUTERS, DNS_SERVERS, MTU, ADDRESS, LEASE, TYPE, SERVER_ID, PARAMETERS, T1, T2, CLIENT_ID = \
    1, 3, 6, 26, 50, 51, 53, 54, 55, 58, 59, 61


def eventually(condition, what, timeout=10.0):
    """The condition's value once it is true."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)


class Segment:
    """The bridge lan0 on the host, and the namespace of a server plugged into it."""

    def __init__(self, host, spaces):
        self.host, self.server = host, spaces.new("server")
        host.ip("link", "add", "lan0", "address", "02:00:00:00:00:fe", "type", "bridge", "mcast_snooping", "0")
        self.plug(self.server, "plug0")
        self.server.sysctl("net/ipv6/conf/eth0/accept_dad", 0)
        host.ip("link", "set", "lan0", "up")
        for address in (f"{SERVER}/24", f"{ROUTER}/24", f"{SERVER6}/64"):
            self.server.ip("address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        self.server.ip("link", "set", "eth0", "up")

    def plug(self, space, port):
        self.host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space.name)
        self.host.ip("link", "set", port, "master", "lan0", "up")


class Program:
    """A background process of a test, with its output in a file."""

    def __init__(self, space, folder, name, command, env=None):
        self.log_path = os.path.join(str(folder), f"{name}-{time.monotonic_ns()}.log")
        with open(self.log_path, "wb") as log, space.enter():
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

    @property
    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_for(self, text, timeout=10.0):
        eventually(lambda: text in self.log or self.process.poll() is not None, f"{text!r} in the log", timeout)
        assert text in self.log, f"{text!r} is not in:\n{self.log}"
        return self

    def count(self, text):
        return self.log.count(text)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class Daemon(Program):
    def __init__(self, host, folder, *flags, ready=True):
        super().__init__(host, folder, "daemon", [cni.OURS.find("dhcp"), "daemon", *flags], {"PATH": cni.SEARCH_PATH})
        if ready:
            self.wait_for("holding ")
            words = [word for flag in flags for word in flag.split("=")]
            path = next((words[i + 1] for i, word in enumerate(words) if word.lstrip("-") == "socketpath"), SOCKET)
            eventually(lambda: os.path.exists(path), "the daemon's socket")


class Dnsmasq(Program):
    def __init__(self, where, folder, *options, v4=True, v6=False, router=ROUTER):
        """where: a Segment, or the server's namespace, whose interface is eth0."""
        ranges = [f"--dhcp-range={SUBNET}.10,{SUBNET}.60,255.255.255.0,2m"] if v4 else []
        ranges += ["--dhcp-range=fd90::10,fd90::60,64,2m", "--enable-ra"] if v6 else []
        super().__init__(getattr(where, "server", where), folder, "dnsmasq", [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces",
            "--no-ping", "--user=root", "--group=root", "--pid-file=", "--log-facility=-", "--log-dhcp", "--dhcp-authoritative",
            f"--dhcp-leasefile={folder}/dnsmasq.leases", f"--dhcp-option=option:router,{router}",
            f"--dhcp-option=option:dns-server,{DNS}", f"--dhcp-option=option6:dns-server,[{DNS6}]", *ranges, *options])
        self.wait_for("started")


class Kea(Program):
    """Kea, which grants leases as short as one likes."""

    def __init__(self, segment, folder, family=4, lifetime=8, renew=2, rebind=5):
        pool = {4: [f"{SUBNET}.70-{SUBNET}.99"], 6: ["fd90::70-fd90::99"]}[family]
        subnet = {"id": 1, "subnet": {4: f"{SUBNET}.0/24", 6: "fd90::/64"}[family], "pools": [{"pool": p} for p in pool],
                  "option-data": [{"name": "routers", "data": ROUTER}] if family == 4 else []}
        if family == 6:
            subnet["interface"] = "eth0"
        body = {"interfaces-config": {"interfaces": ["eth0"]}, "lease-database": {"type": "memfile", "persist": False},
                "valid-lifetime": lifetime, "renew-timer": renew, "rebind-timer": rebind, f"subnet{family}": [subnet],
                "loggers": [{"name": f"kea-dhcp{family}", "severity": "DEBUG", "debuglevel": 50,
                             "output_options": [{"output": "stdout"}]}]}
        if family == 6:
            body["preferred-lifetime"] = lifetime - 1
            body["server-id"] = {"type": "LL", "persist": False}
        path = os.path.join(str(folder), f"kea{family}.json")
        with open(path, "w") as f:
            json.dump({f"Dhcp{family}": body}, f)
        env = {**os.environ, "KEA_LOCKFILE_DIR": "none", "KEA_PIDFILE_DIR": str(folder)}
        super().__init__(segment.server, folder, f"kea{family}", [f"kea-dhcp{family}", "-c", path], env)
        self.wait_for(f"DHCP{family}_STARTED", timeout=30)


def options_of(data):
    found, i = {}, 0
    while i < len(data) and data[i] != 255:
        if data[i] == 0:
            i += 1
            continue
        code, length = data[i], data[i + 1]
        found[code] = found.get(code, b"") + data[i + 2:i + 2 + length]
        i += 2 + length
    return found


class Request:
    """A client's DHCPv4 message, read from a datagram."""

    def __init__(self, data, sender):
        self.sender, self.data = sender, data
        self.xid, self.broadcast = data[4:8], bool(data[10] & 0x80)
        self.ciaddr, self.mac = socket.inet_ntoa(data[12:16]), data[28:34]
        self.options = options_of(data[240:])
        self.type = self.options[TYPE][0]


def address(text):
    return socket.inet_aton(text)


def seconds(number):
    return struct.pack("!I", number)


def defaults(server=SERVER, lease=120, **changes):
    return {MASK: address("255.255.255.0"), SERVER_ID: address(server), LEASE: seconds(lease)}


def reply(request, kind, yiaddr, options, xid=None, mac=None):
    """A whole DHCPv4 reply; `options` are (code, value) pairs in order."""
    pairs = [(TYPE, bytes([kind])), *(options.items() if isinstance(options, dict) else options)]
    body = b"".join(bytes([c, len(v)]) + v for c, v in pairs) + b"\xff"
    header = struct.pack("!BBBB4sHH4s4s4s4s16s64s128s4s", 2, 1, 6, 0, xid or request.xid, 0, 0, b"\0" * 4, address(yiaddr),
                         b"\0" * 4, b"\0" * 4, (mac or request.mac).ljust(16, b"\0"), b"", b"", b"\x63\x82\x53\x63")
    return header + body


class FakeServer:
    """Calls handler(request) for every client message; it returns the datagrams to broadcast."""

    def __init__(self, space, handler):
        with space.enter():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        self.socket.bind(("", 67))
        self.socket.settimeout(0.1)
        self.handler, self.requests, self.stopped, self.errors = handler, [], False, []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopped:
            try:
                data, sender = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            request = Request(data, sender[0])
            self.requests.append(request)
            try:
                for answer in self.handler(request) or []:
                    self.socket.sendto(answer, ("255.255.255.255", 68))
            except Exception as error:  # seen by close()
                self.errors.append(error)

    def seen(self, kind):
        return [r for r in self.requests if r.type == kind]

    def close(self):
        self.stopped = True
        self.thread.join()
        self.socket.close()
        assert not self.errors, self.errors


def granting(yiaddr=f"{SUBNET}.77", more=(), **given):
    """A handler that grants one address."""
    options = {**defaults(**given), **dict(more)}

    def handle(request):
        if request.type == DISCOVER:
            return [reply(request, OFFER, yiaddr, options)]
        if request.type == REQUEST:
            return [reply(request, ACK, yiaddr, options)]
        return []
    return handle


@contextlib.contextmanager
def fake(space, handler):
    server = FakeServer(space, handler)
    try:
        yield server
    finally:
        server.close()


def ask_daemon(host, message, path=SOCKET, raw=False, uid=None, timeout=5):
    """What the daemon answers to one request (bytes with raw=True); b"" if it hangs up."""
    body = message if raw else json.dumps(message).encode()
    data = body if raw else struct.pack("!I", len(body)) + body
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        if uid is not None:
            os.seteuid(uid)
        try:
            s.connect(path)
        finally:
            if uid is not None:
                os.seteuid(0)
        try:
            s.sendall(data)
        except OSError:
            return b""
        answer = b""
        try:
            while chunk := s.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer if raw else json.loads(answer[4:])
