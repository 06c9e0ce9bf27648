"""An API server with TLS: the few paths that multi asks for, and every way to answer badly."""
import json
import os
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "the-token"
MERGE_PATCH = "application/merge-patch+json"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority in a folder; makes certificates for servers and clients."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.certificate, self.key = f"{folder}/{name}.crt", f"{folder}/{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out",
                self.certificate, "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, names="IP:127.0.0.1", days=2, usage="serverAuth", rsa=False):
        """(certificate, key) for subjectAltName `names`."""
        base = f"{self.folder}/{name}"
        algorithm = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-newkey", *algorithm, "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}")
        with open(f"{base}.ext", "w") as f:
            f.write((f"subjectAltName={names}\n" if names else "") + f"extendedKeyUsage={usage}\n")
        dates = ["-days", str(days)]
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-out",
                f"{base}.crt", *dates, "-extfile", f"{base}.ext")
        return f"{base}.crt", f"{base}.key"


class Server:
    """Runs until close(). `objects`: path to object; `answers`: path (or "*") to what is done instead."""

    def __init__(self, host, certificate, client_authority=None, versions=None, address="127.0.0.1"):
        self.objects, self.answers, self.seen, self.patches = {}, {}, [], []
        self.connections = 0
        self.token = TOKEN
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.serve(self, "GET", b"")

            def do_PATCH(self):
                outer.serve(self, "PATCH", self.rfile.read(int(self.headers["Content-Length"])))

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if versions:
            context.maximum_version = versions
        if client_authority:
            context.load_verify_locations(client_authority.certificate)
            context.verify_mode = ssl.CERT_REQUIRED

        class TlsServer(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, client_address):
                outer.connections += 1
                try:
                    with context.wrap_socket(request, server_side=True) as wrapped:
                        super().finish_request(wrapped, client_address)
                except (OSError, ssl.SSLError):
                    pass

        with host.enter():
            self.http = TlsServer((address, 0), Handler)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def put(self, one):
        meta = one["metadata"]
        kind = {"Pod": f"/api/v1/namespaces/{meta['namespace']}/pods/",
                "NetworkAttachmentDefinition": f"/apis/k8s.cni.cncf.io/v1/namespaces/{meta['namespace']}/network-attachment-definitions/"}
        self.objects[kind[one["kind"]] + meta["name"]] = one

    def serve(self, handler, method, body):
        self.seen.append((method, handler.path))
        special = self.answers.get((method, handler.path), self.answers.get("*"))
        if special is not None:
            return special(handler)
        if handler.headers.get("Authorization") != (f"Bearer {self.token}" if self.token else None):
            return answer(handler, 401, failure(401, "Unauthorized"))
        path = handler.path
        if method == "PATCH":
            path = path.removesuffix("/status")
            if handler.headers["Content-Type"] != MERGE_PATCH or path not in self.objects:
                return answer(handler, 404, failure(404, f"no {path}"))
            self.patches.append(json.loads(body))
            self.objects[path]["metadata"]["annotations"].update(self.patches[-1]["metadata"]["annotations"])
        if path not in self.objects:
            return answer(handler, 404, failure(404, f"{path} not found"))
        return answer(handler, 200, self.objects[path])


def failure(code, message):
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def answer(handler, code, content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(code)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def status(code, message="no"):
    return lambda handler: answer(handler, code, failure(code, message))


def raw(content, then=0):
    """These bytes instead of HTTP, then silence for a while."""
    def send(handler):
        handler.wfile.write(content)
        handler.wfile.flush()
        time.sleep(then)
        handler.close_connection = True
    return send


def drip(handler):
    """A byte now and then: each in time, all of them not."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    handler.close_connection = True


def endless(handler):
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    except OSError:
        pass
    handler.close_connection = True


def chunked(content):
    """A proper answer in chunks."""
    body = json.dumps(content).encode()

    def send(handler):
        parts = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7))
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
    return send


def kubeconfig(path, server, authority, user=None, **cluster):
    """Written as YAML, as people have it."""
    user = {"token": TOKEN} if user is None else user
    lines = ["apiVersion: v1", "kind: Config", "clusters:", "- name: local", "  cluster:",
             f"    server: {server}", *([f"    certificate-authority: {authority}"] if authority else []),
             *[f"    {k}: {v}" for k, v in cluster.items()], "users:", "- name: multi", "  user:",
             *([f"    {k}: {v}" for k, v in user.items()] or ["    {}"]),
             "contexts:", "- name: here", "  context:", "    cluster: local", "    user: multi", "current-context: here", ""]
    with open(path, "w") as f:
        f.write("\n".join(lines))
    os.chmod(path, 0o600)
    return str(path)
