"""An API server of our own: resource versions, chunked lists, watches with bookmarks, and every way to be difficult.

One global counter gives every change its resourceVersion. A list with `limit` answers its further pages from the
version of its first; a watch from a version replays what happened since; what is older than the last compaction is
410 Gone, over HTTP and within streams. TLS, bearer tokens and client certificates as in the real one.

Run as a process of its own (`KubeApi(...)` does it), it is told what to do over its own port: POST /control/NAME
with JSON: cut, stall, resume, slow, fail, compact, bookmarks, token, requests.
"""
import base64
import bisect
import copy
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "the-token"
KINDS = {  # (group, version, plural): (kind, namespaced)
    ("", "v1", "nodes"): ("Node", False), ("", "v1", "pods"): ("Pod", True), ("", "v1", "namespaces"): ("Namespace", False),
    ("", "v1", "secrets"): ("Secret", True), ("", "v1", "services"): ("Service", True),
    ("discovery.k8s.io", "v1", "endpointslices"): ("EndpointSlice", True),
    ("coordination.k8s.io", "v1", "leases"): ("Lease", True),
    **{("culvert.dev", "v1", name.lower() + "s"): (name, False)
       for name in ("IPPool", "AddressBlock", "BGPConfiguration", "BGPPeer", "BGPFilter")},
}
PATH = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<ns>[^/]+)(?=/))?"
                  r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$")


class Refusal(Exception):
    def __init__(self, code, reason, message, headers=None):
        super().__init__(message)
        self.code, self.reason, self.message, self.headers = code, reason, message, headers or {}

    def status(self):
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
                "reason": self.reason, "code": self.code}


def gone(version):
    return Refusal(410, "Expired", f"too old resource version: {version}")


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge(target.get(key), value)
    return target


def parse_selector(text):
    """A function from a label's dictionary to whether it is selected."""
    tests = []
    for term in filter(None, (t.strip() for t in re.split(r",(?![^(]*\))", text or ""))):
        if m := re.fullmatch(r"([^\s!=]+)\s+(in|notin)\s+\(([^)]*)\)", term):
            values = {v.strip() for v in m[3].split(",")}
            tests.append(lambda labels, k=m[1], v=values, want=m[2] == "in": (labels.get(k) in v) == want)
        elif m := re.fullmatch(r"([^\s!=]+)\s*(!=|==?)\s*(\S*)", term):
            tests.append(lambda labels, k=m[1], v=m[3], want=m[2] != "!=": (labels.get(k) == v) == want)
        elif m := re.fullmatch(r"(!?)([^\s!=(),]+)", term):
            tests.append(lambda labels, k=m[2], want=not m[1]: (k in labels) == want)
        else:
            raise Refusal(400, "BadRequest", f"unable to parse selector {term!r}")
    return lambda labels: all(test(labels) for test in tests)


def fields_of(one):
    meta = one["metadata"]
    return {"metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", ""),
            "spec.nodeName": one.get("spec", {}).get("nodeName", ""), "type": one.get("type", "")}


class Store:
    """Objects, their history, and whoever waits for more of it."""

    def __init__(self):
        self.changed = threading.Condition()
        self.version, self.compacted = 1, 0
        self.objects = {}  # resource: {(ns, name): (object, its bytes)}
        self.history, self.versions = [], []  # (version, resource, type, object, before, bytes)
        self.snapshots = {}  # (resource, version): sorted items, for the further pages of a list

    def put(self, resource, key, one, kind, before):
        self.version += 1
        one["metadata"]["resourceVersion"] = str(self.version)
        self.objects.setdefault(resource, {})[key] = one
        self.record(resource, "MODIFIED" if before else "ADDED", one, before)
        return one

    def delete(self, resource, key):
        before = self.objects[resource].pop(key)
        self.version += 1
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self.version)
        self.record(resource, "DELETED", last, before)
        return last

    def record(self, resource, kind, one, before):
        self.history.append((self.version, resource, kind, one, before))
        self.versions.append(self.version)
        self.changed.notify_all()

    def since(self, version):
        return self.history[bisect.bisect_right(self.versions, version):]

    def compact(self):
        with self.changed:
            self.compacted = self.version
            self.history.clear(), self.versions.clear(), self.snapshots.clear()
            self.changed.notify_all()


class Api:
    def __init__(self, token):
        self.store = Store()
        self.token = token
        self.fails = []       # [how many, code, Retry-After, what the path must contain]
        self.generation = 0   # of streams; a cut ends those of older ones
        self.stalled = threading.Event()
        self.piece, self.pause = 0, 0.0  # slow: bytes, and seconds between them
        self.bookmarks = 1.0  # seconds between them
        self.seen = []

    # -- requests --

    def resource(self, path):
        m = PATH.match(path)
        if not m:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        resource = (m["group"] or "", m["core"] or m["version"], m["plural"])
        if resource not in KINDS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        return resource, m["ns"] or "", m["name"], m["sub"]

    def items(self, resource, ns, query):
        """(version, items sorted by key) for a list; with `continue`, as of its first page."""
        after, version = None, None
        if token := query.get("continue"):
            version, *after = json.loads(base64.b64decode(token))
            after = tuple(after)
            if (resource, version) not in self.store.snapshots:
                raise Refusal(410, "Expired", "The provided continue parameter is too old")
            items = self.store.snapshots[resource, version]
        else:
            version = self.store.version
            items = sorted(self.store.objects.get(resource, {}).items())
            if query.get("limit", "0") != "0":
                self.store.snapshots[resource, version] = items
        wanted = self.selected(query)
        return version, [(k, o) for k, o in items if (not ns or k[0] == ns) and (after is None or k > after) and wanted(o)]

    def selected(self, query):
        labels, fields = parse_selector(query.get("labelSelector")), parse_selector(query.get("fieldSelector"))
        return lambda one: labels(one["metadata"].get("labels") or {}) and fields(fields_of(one))

    def list(self, resource, ns, query):
        with self.store.changed:
            version, items = self.items(resource, ns, query)
            limit = int(query.get("limit", 0))
            meta = {"resourceVersion": str(version)}
            if limit and len(items) > limit:
                meta["remainingItemCount"] = len(items) - limit
                items = items[:limit]
                meta["continue"] = base64.b64encode(json.dumps([version, *items[-1][0]]).encode()).decode()
            kind, _ = KINDS[resource]
            group = "/".join(filter(None, resource[:2]))
            elements = []
            for _, one in items:
                one = {k: v for k, v in one.items() if k not in ("kind", "apiVersion")}
                elements.append(one)
            return {"kind": kind + "List", "apiVersion": group, "metadata": meta, "items": elements}

    def find(self, resource, ns, name):
        one = self.store.objects.get(resource, {}).get((ns, name))
        if one is None:
            raise Refusal(404, "NotFound", f"{resource[2]} \"{name}\" not found")
        return one

    def check(self, resource, ns, one):
        kind, namespaced = KINDS[resource]
        meta = one.get("metadata") if isinstance(one, dict) else None
        if not isinstance(meta, dict) or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", str(meta.get("name", ""))):
            raise Refusal(422, "Invalid", f"{kind} is invalid: metadata.name")
        if one.get("kind") != kind or one.get("apiVersion") != "/".join(filter(None, resource[:2])):
            raise Refusal(400, "BadRequest", f"not a {kind}: {one.get('apiVersion')} {one.get('kind')}")
        if namespaced and not ns:
            raise Refusal(400, "BadRequest", "a namespace is required")
        if not isinstance(one.get("spec", {}), dict):
            raise Refusal(422, "Invalid", f"{kind} is invalid: spec: must be an object")

    def create(self, resource, ns, one):
        self.check(resource, ns, one)
        meta = one["metadata"]
        with self.store.changed:
            key = (ns, meta["name"])
            if key in self.store.objects.get(resource, {}):
                raise Refusal(409, "AlreadyExists", f"{resource[2]} \"{key[1]}\" already exists")
            if ns:
                meta["namespace"] = ns
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            return self.store.put(resource, key, one, "ADDED", None)

    def replace(self, resource, ns, name, make, sub, need_version=None):
        with self.store.changed:
            before = self.find(resource, ns, name)
            one = make(copy.deepcopy(before))
            given = one.get("metadata", {}).get("resourceVersion")
            if given and given != before["metadata"]["resourceVersion"]:
                raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
            if sub == "status":
                one = {**copy.deepcopy(before), "status": one.get("status", {})}
            elif sub:
                raise Refusal(404, "NotFound", f"no subresource {sub}")
            elif "status" in before:
                one["status"] = before["status"]
            else:
                one.pop("status", None)
            for kept in ("uid", "creationTimestamp", "namespace", "name"):
                if kept in before["metadata"]:
                    one["metadata"][kept] = before["metadata"][kept]
            self.check(resource, ns, one)
            one["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
            if one == before:
                return before
            return self.store.put(resource, (ns, name), one, "MODIFIED", before)

    def remove(self, resource, ns, name, options):
        with self.store.changed:
            before = self.find(resource, ns, name)
            wanted = (options.get("preconditions") or {}).get("resourceVersion")
            if wanted and wanted != before["metadata"]["resourceVersion"]:
                raise Refusal(409, "Conflict", "the resourceVersion in the precondition does not match")
            return self.store.delete(resource, (ns, name))

    # -- watch --

    def events(self, resource, ns, query, generation):
        """Yields lists of events as bytes; an empty one now and then."""
        wanted = self.selected(query)
        version = int(query.get("resourceVersion") or 0)
        ends = time.monotonic() + float(query.get("timeoutSeconds", 300))
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        told = time.monotonic()
        while True:
            with self.store.changed:
                if version < self.store.compacted:
                    raise gone(version)
                found = self.store.since(version)
                if not found and time.monotonic() < ends and generation == self.generation:
                    self.store.changed.wait(0.2)
                    found = self.store.since(version)
                if found:
                    version = found[-1][0]
                now = self.store.version
            lines = [line for line in (self.event(e, resource, ns, wanted) for e in found) if line]
            if bookmarks and time.monotonic() - told >= self.bookmarks and not found:
                told, version = time.monotonic(), max(version, now)
                kind, _ = KINDS[resource]
                lines.append({"type": "BOOKMARK", "object": {"kind": kind, "metadata": {"resourceVersion": str(version)}}})
            yield lines
            if time.monotonic() >= ends or generation != self.generation:
                return

    @staticmethod
    def event(change, resource, ns, wanted):
        version, of, kind, one, before = change
        if of != resource or (ns and one["metadata"].get("namespace", "") != ns):
            return None
        now, then = kind != "DELETED" and wanted(one), before is not None and wanted(before)
        if not now and not then:
            return None
        return {"type": "DELETED" if not now else "MODIFIED" if then else "ADDED", "object": one}

    # -- control --

    def control(self, what, how):
        if what == "cut":
            self.generation += 1
        elif what == "stall":
            self.stalled.set()
        elif what == "resume":
            self.stalled.clear()
        elif what == "slow":
            self.piece, self.pause = how["bytes"], how["seconds"]
        elif what == "fail":
            self.fails.append([how.get("times", 1), how["code"], how.get("retryAfter"), how.get("path", "")])
        elif what == "compact":
            self.store.compact()
        elif what == "bookmarks":
            self.bookmarks = how["seconds"]
        elif what == "token":
            self.token = how["token"]
        elif what == "requests":
            seen, self.seen = self.seen, []
            return seen
        elif what == "fill":
            for one in how["objects"]:
                resource = next(r for r, (kind, _) in KINDS.items() if kind == one["kind"])
                self.create(resource, one["metadata"].get("namespace", ""), one)
        elif what == "raw":  # an object as it is, however broken
            resource = tuple(how["resource"])
            with self.store.changed:
                meta = how["object"]["metadata"]
                key = (meta.get("namespace", ""), meta["name"])
                self.store.put(resource, key, how["object"], "", self.store.objects.get(resource, {}).get(key))
        else:
            raise Refusal(404, "NotFound", what)
        return {}


def discovery(path):
    def resources(group, version):
        return [{"name": p, "singularName": k.lower(), "namespaced": n, "kind": k,
                 "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}
                for (g, v, p), (k, n) in KINDS.items() if (g, v) == (group, version)]
    groups = sorted({(g, v) for g, v, _ in KINDS if g})
    if path == "/version":
        return {"major": "1", "minor": "31", "gitVersion": "v1.31.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": g, "versions": [{"groupVersion": f"{g}/{v}", "version": v}],
             "preferredVersion": {"groupVersion": f"{g}/{v}", "version": v}} for g, v in groups]}
    for group, version in [("", "v1"), *groups]:
        name = "/".join(filter(None, (group, version)))
        if path == ("/apis/" if group else "/api/") + name:
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources(group, version)}
    return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api = None

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def do(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        try:
            if url.path.startswith("/control/"):
                return self.answer(200, self.api.control(url.path[9:], json.loads(body or b"{}")))
            self.api.seen.append([self.command, self.path])
            self.refuse(url.path)
            self.answer_api(url.path, query, body)
        except Refusal as refusal:
            self.answer(refusal.code, refusal.status(), refusal.headers)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.answer(400, Refusal(400, "BadRequest", repr(error)).status())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def refuse(self, path):
        for fail in self.api.fails:
            if fail[0] > 0 and fail[3] in self.path:
                fail[0] -= 1
                headers = {"Retry-After": str(fail[2])} if fail[2] is not None else {}
                raise Refusal(fail[1], "TooManyRequests" if fail[1] == 429 else "InternalError", "as told", headers)
        if self.api.token and self.headers.get("Authorization") != f"Bearer {self.api.token}":
            if not self.connection.getpeercert():
                raise Refusal(401, "Unauthorized", "Unauthorized")

    def answer_api(self, path, query, body):
        if self.command == "GET" and (found := discovery(path)) is not None:
            return self.answer(200, found)
        resource, ns, name, sub = self.api.resource(path)
        if self.command == "GET" and name is None:
            if query.get("watch") in ("1", "true"):
                return self.watch(resource, ns, query)
            return self.answer(200, self.api.list(resource, ns, query))
        if self.command == "GET":
            return self.answer(200, self.api.find(resource, ns, name))
        given = json.loads(body) if body else {}
        if self.command == "POST":
            return self.answer(201, self.api.create(resource, ns, given))
        if self.command == "PUT":
            return self.answer(200, self.api.replace(resource, ns, name, lambda _: given, sub))
        if self.command == "PATCH":
            if self.headers["Content-Type"] not in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
                raise Refusal(415, "UnsupportedMediaType", self.headers["Content-Type"])
            return self.answer(200, self.api.replace(resource, ns, name, lambda one: self.patched(one, given), sub))
        return self.answer(200, self.api.remove(resource, ns, name, given))

    @staticmethod
    def patched(one, patch):
        if "resourceVersion" not in patch.get("metadata", {}):
            one["metadata"].pop("resourceVersion", None)
        return merge(one, patch)

    def answer(self, code, content, headers=None):
        body = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.send(body, chunk=False)

    def watch(self, resource, ns, query):
        version = int(query.get("resourceVersion") or 0)
        with self.api.store.changed:
            if version < self.api.store.compacted:
                raise gone(version)
            generation = self.api.generation
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for lines in self.api.events(resource, ns, query, generation):
                while self.api.stalled.is_set() and generation == self.api.generation:
                    time.sleep(0.02)
                for line in lines:
                    self.send(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            if generation != self.api.generation:  # cut: in mid-stream, without the last chunk
                self.close_connection = True
                self.connection.close()
                return
        except Refusal as refusal:
            self.send(json.dumps({"type": "ERROR", "object": refusal.status()}).encode() + b"\n")
        self.wfile.write(b"0\r\n\r\n")

    def send(self, data, chunk=True):
        step = self.api.piece or len(data) or 1
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunk else piece)
            if self.api.pause:
                time.sleep(self.api.pause)


class TlsServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    context = None

    def finish_request(self, request, client_address):
        request.settimeout(30)
        try:
            with self.context.wrap_socket(request, server_side=True) as wrapped:
                wrapped.settimeout(None)
                super().finish_request(wrapped, client_address)
        except (OSError, ssl.SSLError):
            pass

    def handle_error(self, request, client_address):
        pass


def main():
    config = json.loads(sys.argv[1])
    Handler.api = Api(config["token"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["certificate"], config["key"])
    if config.get("clientAuthority"):
        context.load_verify_locations(config["clientAuthority"])
        context.verify_mode = ssl.CERT_OPTIONAL
    TlsServer.context = context
    TlsServer.address_family = socket.AF_INET6 if ":" in config["address"] else socket.AF_INET
    server = TlsServer((config["address"], config["port"]), Handler)
    if config.get("state") and os.path.exists(config["state"]):
        load(Handler.api.store, config["state"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if config.get("state"):
        signal.signal(signal.SIGUSR1, lambda *_: save(Handler.api.store, config["state"]))
    print(server.server_address[1], flush=True)
    server.serve_forever()


def save(store, path):
    objects = [[*resource, list(items.items())] for resource, items in store.objects.items()]
    with open(path + ".new", "w") as f:
        json.dump({"version": store.version, "objects": objects}, f)
    os.rename(path + ".new", path)


def load(store, path):
    """After a restart the history is gone: older versions are 410."""
    with open(path) as f:
        kept = json.load(f)
    store.version = store.compacted = kept["version"]
    for group, version, plural, items in kept["objects"]:
        store.objects[group, version, plural] = {tuple(key): one for key, one in items}


class KubeApi:
    """The server as a process; `authority` and the certificate are api_server.Authority's. start/stop keep the state."""

    def __init__(self, folder, authority, address="127.0.0.1", token=TOKEN, certificate=None):
        self.folder, self.authority, self.address, self.token = str(folder), authority, address, token
        self.state = os.path.join(self.folder, f"state-{id(self)}")
        certificate = certificate or authority.issue(f"server-{id(self)}", f"IP:{address},DNS:localhost")
        self.config = {"address": address, "port": 0, "token": token, "certificate": certificate[0], "key": certificate[1],
                       "clientAuthority": authority.certificate, "state": self.state}
        self.process = None
        self.context = ssl.create_default_context(cafile=authority.certificate)
        self.context.check_hostname = False
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), json.dumps(self.config)],
                                        stdout=subprocess.PIPE, text=True)
        self.config["port"] = int(self.process.stdout.readline())
        host = f"[{self.address}]" if ":" in self.address else self.address
        self.url = f"https://{host}:{self.config['port']}"

    def stop(self):
        """Goes away, remembering its objects but not their history."""
        if os.path.exists(self.state):
            os.unlink(self.state)
        self.process.send_signal(signal.SIGUSR1)
        while not os.path.exists(self.state):
            time.sleep(0.01)
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def request(self, method, path, body=None, content_type="application/json"):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=30) as response:
            return json.load(response)

    def control(self, what, **how):
        return self.request("POST", f"/control/{what}", how)


if __name__ == "__main__":
    main()
