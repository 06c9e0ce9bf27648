"""Runs plugins the way a runtime does: environment, config on stdin, JSON on stdout."""
import itertools
import json
import os
import re
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS_DIR = os.environ.get("CULVERT_CNI_DIR", os.path.join(ROOT, "build/release/cni"))
REFERENCE_DIR = os.environ.get("CULVERT_REFERENCE_CNI_DIR", "/usr/lib/cni")
RELEASED = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
# nsenter and the reference plugins look up iptables, nft and ip here.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_VETH = re.compile(r"^veth[0-9a-f]{8,11}$")

_ids = itertools.count(1)


def at_least(version, minimum):
    return tuple(map(int, version.split("."))) >= tuple(map(int, minimum.split(".")))


def new_id(label="c"):
    return f"{label}{os.getpid():x}-{next(_ids):04d}"


class Outcome:
    """What one execution left: exit code, standard output and error, time taken."""

    def __init__(self, what, rc, stdout, stderr, seconds):
        self.what, self.rc, self.stdout, self.stderr, self.seconds = what, rc, stdout, stderr, seconds

    @property
    def ok(self):
        return self.rc == 0

    @property
    def json(self):
        """The one JSON document on stdout; None when it is empty."""
        text = self.stdout.decode("utf-8", "strict").strip()
        return json.loads(text) if text else None

    @property
    def code(self):
        return None if self.ok else self.json.get("code")

    @property
    def words(self):
        """Message and details of the error, as a person would read them."""
        if self.ok:
            return ""
        error = self.json or {}
        return f"{error.get('msg', '')} {error.get('details', '')}".strip()

    def expect_ok(self):
        assert self.rc == 0, f"{self.what}: exit {self.rc}: {self.stdout.decode(errors='replace')[:2000]} {self.stderr[-500:]}"
        return self

    def expect_error(self, code=None, *needles):
        """A proper error object, with this code (or one of these) and these words in it."""
        assert self.rc != 0, f"{self.what}: succeeded with {self.stdout[:500]!r}, an error was due"
        assert self.rc == 1, f"{self.what}: exit {self.rc}, not 1 (killed or aborted?): {self.stderr[-800:]}"
        error = self.json
        assert isinstance(error, dict), f"{self.what}: no error object: {self.stdout[:300]!r}"
        assert isinstance(error.get("code"), int) and error.get("msg"), f"{self.what}: incomplete error {error}"
        if code is not None:
            allowed = code if isinstance(code, (tuple, list, set)) else (code,)
            assert error["code"] in allowed, f"{self.what}: code {error['code']}, not {code}: {error}"
        for needle in needles:
            assert needle.lower() in self.words.lower(), f"{self.what}: {needle!r} is not in {error}"
        return self

    def __repr__(self):
        return f"<{self.what}: exit {self.rc} {self.stdout[:300]!r}>"


class Plugins:
    """A plugin directory, or several in order; the CNI_PATH of its runs."""

    def __init__(self, *folders):
        self.folders = list(folders)

    @property
    def path(self):
        return ":".join(self.folders)

    def find(self, name):
        for folder in self.folders:
            candidate = os.path.join(folder, name)
            if os.path.isfile(candidate):
                return candidate
        raise FileNotFoundError(f"no plugin {name} in {self.path}")


OURS = Plugins(OURS_DIR)
REFERENCE = Plugins(REFERENCE_DIR)
# Debian's reference plugins stop at 1.0.0; running the suite on them shows that its tests can fail.
IS_REFERENCE = os.path.realpath(OURS_DIR) == os.path.realpath(REFERENCE_DIR)
VERSIONS = [v for v in RELEASED if v != "1.1.0" or not IS_REFERENCE]
LATEST = VERSIONS[-1]


def environment(verb, plugins, cid=None, netns=None, ifname=None, args=None, extra=None):
    env = {"PATH": SEARCH_PATH, "CNI_COMMAND": verb, "CNI_PATH": plugins.path, "CNI_CONTAINERID": cid,
           "CNI_NETNS": netns, "CNI_IFNAME": ifname, "CNI_ARGS": args}
    env.update(extra or {})
    return {k: v for k, v in env.items() if v is not None}


def as_bytes(config):
    if isinstance(config, bytes):
        return config
    return (config if isinstance(config, str) else json.dumps(config)).encode()


def start(host, executable, env, wrapper=(), cwd=None):
    """Start a plugin inside the host namespace; the caller feeds it and waits."""
    with host.enter():
        return subprocess.Popen([*wrapper, executable], env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)


def start_fed(host, executable, env, config):
    """start(), with the whole configuration already given."""
    process = start(host, executable, env)
    process.stdin.write(as_bytes(config))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process, what, config, began, timeout=60):
    try:
        out, err = process.communicate(as_bytes(config), timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{what}: still running after {timeout} s")
    return Outcome(what, process.returncode, out, err.decode(errors="replace"), time.monotonic() - began)


def execute(host, plugins, name, verb, config, cid=None, netns=None, ifname=None, args=None, extra=None,
            timeout=60, wrapper=(), cwd=None):
    """One plugin, one verb, inside the network namespace `host`."""
    env = environment(verb, plugins, cid, netns, ifname, args, extra)
    began = time.monotonic()
    process = start(host, plugins.find(name), env, wrapper, cwd)
    return finish(process, f"{name} {verb} {cid or ''}", config, began, timeout)


class Attachment:
    """One container interface on one network of one plugin, with its whole life."""

    def __init__(self, host, config, container=None, cid=None, ifname="eth0", plugins=OURS, args=None, netns=None):
        self.host, self.config, self.container, self.plugins = host, config, container, plugins
        self.cid, self.ifname, self.args = cid or new_id(), ifname, args
        self.netns = netns if netns is not None else (container.path if container else None)
        self.result = None

    def run(self, verb, config=None, **changes):
        given = dict(cid=self.cid, netns=self.netns, ifname=self.ifname, args=self.args)
        given.update(changes)
        config = self.config if config is None else config
        return execute(self.host, self.plugins, self.config["type"], verb, config, **given)

    def try_add(self, **changes):
        outcome = self.run("ADD", **changes)
        if outcome.ok:
            self.result = outcome.json
        return outcome

    def add(self, **changes):
        self.try_add(**changes).expect_ok()
        return self.result

    def with_result(self, result=None):
        return {**self.config, "prevResult": result or self.result}

    def check(self, result=None, **changes):
        return self.run("CHECK", self.with_result(result), **changes)

    def delete(self, with_result=True, **changes):
        config = self.with_result() if with_result and self.result and self._delete_takes_result() else self.config
        return self.run("DEL", config, **changes)

    def _delete_takes_result(self):
        return at_least(self.config.get("cniVersion", "0.1.0"), "0.4.0")

    @property
    def addresses(self):
        """Addresses without prefix, in the result's order."""
        return [ip["address"].split("/")[0] for ip in self.result.get("ips", [])]

    @property
    def host_veth(self):
        return next(i["name"] for i in self.result["interfaces"] if HOST_VETH.match(i["name"]))


def gc(host, config, valid, plugins=OURS):
    """GC with the list of valid attachments: Attachment objects, or None for no key at all."""
    config = dict(config)
    if valid is not None:
        entries = [{"containerID": a.cid, "ifname": a.ifname} for a in valid]
        config["cni.dev/valid-attachments"] = entries
        config["cni.dev/attachments"] = entries
    return execute(host, plugins, config["type"], "GC", config)


def status(host, config, plugins=OURS):
    return execute(host, plugins, config["type"], "STATUS", config)


class Conflist:
    """A list of plugins run like libcni: prevResult handed on, DEL in reverse, each with its own folder."""

    def __init__(self, host, version, name, entries):
        """entries: (Plugins, config without name and version); CNI_PATH is that of the entry."""
        self.host, self.version, self.name, self.entries = host, version, name, entries
        self.result = None

    def _config(self, entry, result):
        config = {**entry, "cniVersion": self.version, "name": self.name}
        if result is not None:
            config["prevResult"] = result
        return config

    def add(self, cid, netns, ifname="eth0", args=None):
        result = None
        for plugins, entry in self.entries:
            outcome = execute(self.host, plugins, entry["type"], "ADD", self._config(entry, result), cid, netns,
                              ifname, args)
            outcome.expect_ok()
            result = outcome.json
        self.result = result
        return result

    def check(self, cid, netns, ifname="eth0", args=None, entries=None):
        for plugins, entry in self.entries if entries is None else entries:
            execute(self.host, plugins, entry["type"], "CHECK", self._config(entry, self.result), cid, netns,
                    ifname, args).expect_ok()

    def delete(self, cid, netns, ifname="eth0", args=None, with_result=True):
        result = self.result if with_result else None
        for plugins, entry in reversed(self.entries):
            execute(self.host, plugins, entry["type"], "DEL", self._config(entry, result), cid, netns, ifname,
                    args).expect_ok()
