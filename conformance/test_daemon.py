"""culvertd and culvertctl from outside: configuration, endpoints, control socket, signals, hot restart."""
import grp
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from lib import daemon
from lib.daemon import Daemon, check, ctl

pytestmark = pytest.mark.netns

NO_ROLES = ["--roles", ""]
HEALTH, METRICS = 9811, 9810


@pytest.fixture
def start(host):
    """Starts daemons on the host, and stops what still runs at the end."""
    running = []

    def make(*flags, **options):
        running.append(Daemon(host, *(flags or NO_ROLES), **options))
        return running[-1]
    yield make
    for one in running:
        one.stop(signal.SIGKILL)


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="culvertd.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)
    return to_file


# Configuration

def test_every_problem_is_reported_at_once_with_its_line(write):
    done = check("--config", write("roles: []\nlog:\n  levle: debug\n  format: xml\nmetrics: 5\nstateDir: relative\n"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        'culvertd.yaml:3: log.levle: unknown key, did you mean "level"?',
        'culvertd.yaml:4: log.format: "xml" is neither text nor json',
        "culvertd.yaml:5: metrics: 5 is not an object",
        'culvertd.yaml:6: stateDir: "relative" is not an absolute path',
    ]


@pytest.mark.parametrize("text, said", [
    ("roles: [", "not usable YAML"),
    ("roles: []\nroles: []\n", "stands there twice"),
    ("nodeName: x\n", "write for example"),
    ("roles: [plumbing]\n", '"plumbing" is no role'),
    ("[" * 50_000, "not usable YAML"),
    ("a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*a, *a]\n" for i in range(9)), "aliases"),
    ("x" * 10_000_000, "exceeds"),
    ("roles: []\nlog: {level: !!python/object x}\n", "tags"),
], ids=["broken", "twice", "no roles", "unknown role", "deep", "aliases", "long", "tag"])
def test_a_hostile_or_broken_file_is_refused_in_one_line(write, text, said):
    done = check("--config", write(text))
    assert done.returncode == 1 and said in done.stderr and len(done.stderr) < 1000


def test_a_missing_default_file_is_fine_but_a_named_one_is_not():
    assert check(*NO_ROLES).returncode == 0
    done = check(*NO_ROLES, "--config", "/nonexistent.yaml")
    assert done.returncode == 1 and "No such file" in done.stderr


def test_flag_before_variable_before_file_before_default(start, write):
    path = write("roles: []\nnodeName: from-file\nlog: {level: warning}\nstateDir: /from/file\n")
    one = start("--config", path, "--node-name", "from-flag", "--set", "health.address=127.0.0.1:1234",
                env={"CULVERT_NODE_NAME": "from-variable", "CULVERT_LOG_LEVEL": "debug"})
    config = one.control("/v1/config")[1]
    assert config["nodeName"] == "from-flag" and config["log"]["level"] == "debug"
    assert config["stateDir"] == "/from/file"
    assert one.status()["listen"] == {"control": daemon.SOCKET, "health": "127.0.0.1:1234", "metrics": "127.0.0.1:9810"}


def test_the_help_lists_every_key():
    text = subprocess.run([daemon.CULVERTD, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for key in ("nodeName", "log.level", "control.socket", "stateDir"):
        assert key in text


# What it serves

def test_metrics_and_health(start):
    one = start()
    status, text = one.http(METRICS, "/metrics")
    assert status == 200 and re.search(r'^culvert_build_info\{.*version="[\d.]+"\} 1$', text, re.M)
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
        assert re.search(rf"^{name} [\d.e+]+$", text, re.M), name
    for path in ("/healthz", "/livez", "/readyz"):
        assert one.http(HEALTH, path) == (200, "ok")
    assert one.http(HEALTH, "/readyz?verbose") == (200, "[+]ping ok\nreadyz check passed\n")
    assert one.http(HEALTH, "/metrics")[0] == 404 and one.http(HEALTH, "/livez", "POST")[0] == 405


def test_metrics_and_health_may_share_an_address_and_be_switched_off(start):
    one = start(*NO_ROLES, "--metrics-address", "127.0.0.1:9000", "--health-address", "127.0.0.1:9000")
    assert one.http(9000, "/metrics")[0] == 200 and one.http(9000, "/livez")[0] == 200
    one.stop()
    two = start(*NO_ROLES, "--metrics-address", "", "--health-address", "127.0.0.1:0")
    listen = two.status()["listen"]
    assert "metrics" not in listen and two.http(int(listen["health"].split(":")[1]), "/livez")[0] == 200


def raw(one, sent):
    with one.tcp(HEALTH) as connection:
        connection.sendall(sent)
        answer = b""
        while got := connection.recv(65536):
            answer += got
    return answer


@pytest.mark.parametrize("sent, status", [
    (b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"431"),
    (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
])
def test_a_hostile_request_is_refused_and_the_next_one_served(start, sent, status):
    one = start()
    assert raw(one, sent).startswith(b"HTTP/1.1 " + status)
    assert one.http(HEALTH, "/livez") == (200, "ok")


def test_silent_clients_are_bounded_and_hurt_nobody_elsewhere(start):
    one = start()
    silent = [one.tcp(HEALTH) for _ in range(100)]
    assert one.http(METRICS, "/metrics")[0] == 200
    assert len(os.listdir(f"/proc/{one.pid}/fd")) < 100, "connections are bounded"
    for connection in silent:
        connection.close()
    assert one.http(HEALTH, "/livez") == (200, "ok")


def test_a_connection_serves_many_requests(start):
    one = start()
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(one, request * 5 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200 OK") == 6


# The control socket

AS_NOBODY = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit("not allowed")
s.sendall(b"GET /v1/version HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(s.makefile("rb").readline().decode())
"""


def ask_as_nobody(*groups):
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, daemon.SOCKET], user=65534, group=65534,
                          extra_groups=list(groups), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()


def test_only_root_uses_the_control_socket(start):
    start()
    found = os.stat(daemon.SOCKET)
    assert stat.S_IMODE(found.st_mode) == 0o660 and (found.st_uid, found.st_gid) == (0, 0)
    assert sorted(f for f in os.listdir("/run/culvert") if not f.startswith("notify")) == [
        "culvertd.sock", "culvertd.sock.lock"]
    assert ask_as_nobody() == "not allowed"
    os.chmod(daemon.SOCKET, 0o666)
    assert ask_as_nobody() == "HTTP/1.1 403 Forbidden", "the peer is verified, whatever the file's mode"


def test_a_group_may_use_it(start):
    start(*NO_ROLES, "--control-group", "daemon")
    group = grp.getgrnam("daemon").gr_gid
    assert os.stat(daemon.SOCKET).st_gid == group
    assert ask_as_nobody(group) == "HTTP/1.1 200 OK"
    assert ask_as_nobody() == "not allowed"


def test_a_second_daemon_is_refused_and_the_first_undisturbed(start, host):
    one = start()
    with host.enter():
        second = subprocess.run([daemon.CULVERTD, *NO_ROLES, "--metrics-address", "", "--health-address", ""],
                                env=daemon.environment(), stderr=subprocess.PIPE, text=True, timeout=daemon.PATIENCE)
    assert second.returncode == 1 and "another daemon runs" in second.stderr
    assert one.status()["pid"] == one.pid


def test_a_dead_daemons_socket_is_replaced(start):
    start().stop(signal.SIGKILL)
    assert os.path.exists(daemon.SOCKET)
    assert start().status()["state"] == "ok"


def test_unknown_paths_methods_and_bodies(start):
    one = start()
    assert one.control("/v1/nothing")[1]["error"]["code"] == "noSuchPath"
    assert one.control("/v1/status", "DELETE")[0] == 405
    status, answer = one.control("/v1/log", "PUT", {"level": "loud"})
    assert status == 400 and answer["error"]["code"] == "invalid" and "debug" in answer["error"]["message"]


# culvertctl

def test_status_in_every_form(start):
    one = start(*NO_ROLES, "--node-name", "n1")
    table = ctl("status")
    assert table.returncode == 0 and table.stdout.startswith("node n1: ok") and "\x1b" not in table.stdout
    assert json.loads(ctl("-o", "json", "status").stdout)["pid"] == one.pid
    assert f"pid: {one.pid}\n" in ctl("status", "-oyaml").stdout


def test_without_a_daemon_it_says_so(host):
    done = ctl("status")
    assert done.returncode == 2 and "culvertd is not running" in done.stderr and "systemctl" in done.stderr
    assert ctl("version").returncode == 0
    other = ctl("--socket", "/nonexistent/x", "status")
    assert other.returncode == 2 and "/nonexistent/x" in other.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["log", "level"], ["status", "extra"], ["--colour", "status"],
                                       ["-o", "xml", "status"], ["completion", "tcsh"], []])
def test_a_wrong_call_is_refused(host, arguments):
    done = ctl(*arguments)
    assert done.returncode == 2 and done.stderr != "" and done.stdout == ""


def test_it_checks_a_configuration(write):
    assert ctl("config", "check", write("roles: []\n")).returncode == 0
    done = ctl("config", "check", "-o", "json", write("roles: []\nx: 1\n"))
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"] == ["culvertd.yaml:2: x: unknown key"]


def test_the_log_level_changes_live(start):
    one = start()
    assert ctl("log", "level", "debug").stdout == "log level: debug\n"
    assert one.control("/v1/log")[1] == {"level": "debug"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_parse(shell):
    script = ctl("completion", shell)
    assert script.returncode == 0 and "culvertctl" in script.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its syntax was not checked")
    subprocess.run([shell, "-n"], input=script.stdout, text=True, check=True)


def completed(*words):
    """What bash offers after these words."""
    script = ctl("completion", "bash").stdout
    line = " ".join(f"'{w}'" for w in words)
    run = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _culvertctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", run], stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def test_bash_completes_commands_their_words_and_choices():
    assert {"status", "config", "restart"} <= set(completed("culvertctl", ""))
    assert completed("culvertctl", "-o", "json", "conf") == ["config"]
    assert {"check", "show"} <= set(completed("culvertctl", "config", ""))
    assert completed("culvertctl", "log", "level", "de") == ["debug"]
    assert completed("culvertctl", "-o", "j") == ["json"]


# Signals, the service manager

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_gracefully(start, number):
    one = start()
    one.tell(number)
    one.manager.await_message("STOPPING=1")
    assert one.process.wait(daemon.PATIENCE) == 0
    assert not os.path.exists(daemon.SOCKET)


def test_sighup_changes_the_log_level_and_names_what_needs_a_restart(start, write):
    path = write("roles: []\nlog: {level: info}\n")
    one = start("--config", path)
    write("roles: []\nlog: {level: debug}\nstateDir: /elsewhere\n")
    one.tell(signal.SIGHUP)
    heard = one.manager.await_message("READY=1")
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard[0])
    assert one.control("/v1/log")[1] == {"level": "debug"}
    assert one.status()["restartNeeded"] == ["stateDir"]
    assert "changed but not in effect: stateDir" in ctl("status").stdout
    assert one.stop() == 0 and "keys=stateDir" in one.log()


def test_sighup_with_a_broken_configuration_changes_nothing(start, write):
    path = write("roles: []\nlog: {level: info}\n")
    one = start("--config", path)
    write("roles: []\nlog: {level: debug}\nrolez: 1\n")
    one.tell(signal.SIGHUP)
    one.manager.await_message("READY=1")
    assert one.control("/v1/log")[1] == {"level": "info"}
    assert one.stop() == 0 and "culvertd.yaml:3: rolez: unknown key" in one.log()


def test_logs_are_json_if_asked_for(start):
    one = start(*NO_ROLES, "--log-format", "json")
    assert one.stop() == 0
    for line in one.log().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


def test_it_notifies_an_abstract_socket_and_feeds_the_watchdog(start):
    one = start(*NO_ROLES, env={"WATCHDOG_USEC": "200000"}, abstract=True)
    for _ in range(3):
        one.manager.await_message("WATCHDOG=1")


def test_it_feeds_no_watchdog_of_another_process(start):
    one = start(*NO_ROLES, env={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    one.tell(signal.SIGHUP)
    one.manager.await_message("READY=1")
    assert one.stop() == 0 and "WATCHDOG=1" not in one.manager.heard


def test_nothing_happens_between_events(start, tmp_path):
    one = start()
    one.http(HEALTH, "/livez")
    trace = tmp_path / "trace"
    subprocess.run(["timeout", "-s", "INT", "3", "strace", "-f", "-q", "-o", trace, "-p", str(one.pid)], check=False)
    calls = [line for line in trace.read_text().splitlines() if re.match(r"\d+ +\w+\(", line)]
    assert len(calls) == 1 and "epoll_wait(" in calls[0], "it was woken without an event"


# Hot restart

class Clients:
    """Threads that ask again and again, each request on a connection of its own, until the block ends."""

    def __init__(self, *requests):
        self.over = threading.Event()
        self.answered = [0] * len(requests)
        self.failures = []
        self.threads = [threading.Thread(target=self._ask, args=(i, r)) for i, r in enumerate(requests)]

    def _ask(self, index, request):
        while not self.over.is_set():
            try:
                status = request()[0]
                if status != 200:
                    self.failures.append(status)
            except OSError as error:
                self.failures.append(repr(error))
            self.answered[index] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_a_hot_restart_refuses_nobody_and_keeps_the_pid(start):
    one = start()
    with Clients(lambda: one.http(HEALTH, "/livez"), lambda: one.http(METRICS, "/metrics"),
                 lambda: one.control("/v1/version")) as clients:
        for generation in range(2, 6):
            done = ctl("restart", "-o", "json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["pid"] == one.pid
            assert one.status()["generation"] == generation
    assert clients.failures == []
    assert min(clients.answered) > 4
    assert "READY=1" in one.manager.await_message("READY=1")[-1]


def descriptors(pid):
    """How many it keeps: a client's connection may be open a moment longer than the client."""
    def count():
        time.sleep(0.05)
        return len(os.listdir(f"/proc/{pid}/fd"))
    return min(count() for _ in range(10))


def test_a_hot_restart_leaks_no_descriptor(start):
    one = start()
    ctl("restart")
    before = descriptors(one.pid)
    for _ in range(3):
        assert ctl("restart").returncode == 0
    assert descriptors(one.pid) == before


def test_a_hot_restart_takes_the_new_configuration(start, write):
    path = write("roles: []\nnodeName: before\n")
    one = start("--config", path)
    write("roles: []\nnodeName: after\nhealth: {address: '127.0.0.1:9900'}\n")
    assert ctl("restart").returncode == 0
    assert one.status()["node"] == "after" and one.http(9900, "/livez")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        one.http(HEALTH, "/livez")


def test_a_broken_configuration_refuses_the_restart_and_the_daemon_runs_on(start, write):
    path = write("roles: []\n")
    one = start("--config", path)
    write("roles: [\n")
    done = ctl("restart")
    assert done.returncode == 2 and "not usable YAML" in done.stderr
    assert one.status()["generation"] == 1


def test_a_hot_restart_executes_the_file_that_replaced_its_own(start, tmp_path):
    mine = str(tmp_path / "culvertd")
    shutil.copy(daemon.CULVERTD, mine)
    one = start(executable=mine)
    shutil.copy(daemon.CULVERTD, mine + ".new")
    os.rename(mine + ".new", mine)
    assert ctl("restart").returncode == 0
    assert os.stat(f"/proc/{one.pid}/exe").st_ino == os.stat(mine).st_ino
    os.unlink(mine)
    done = ctl("restart")
    assert done.returncode == 2 and "No such file" in done.stderr
    assert one.status()["generation"] == 2


def test_a_file_that_cannot_be_executed_is_survived(start, tmp_path):
    """It passes for executable, but is none: the daemon goes on in the old process."""
    mine = str(tmp_path / "culvertd")
    shutil.copy(daemon.CULVERTD, mine)
    one = start(executable=mine)
    os.rename(mine, mine + ".old")
    with open(mine, "w") as f:
        f.write("garbage")
    os.chmod(mine, 0o755)
    assert ctl("restart").returncode == 0
    assert one.status()["pid"] == one.pid and one.http(HEALTH, "/livez")[0] == 200
    assert one.stop() == 0 and "Exec format error" in one.log()
