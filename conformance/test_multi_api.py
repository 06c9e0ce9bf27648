"""multi with an API server: pods and definitions over TLS, the status written back, and everything that can go wrong."""
import base64
import json
import os
import shutil
import ssl
import time

import pytest

from lib import api_server, configs, multi, netns, nft, traffic
from lib.api_server import Authority, Server
from lib.cni import Attachment, gc, status

pytestmark = pytest.mark.netns

STATUS = "k8s.v1.cni.cncf.io/network-status"
POD = "/api/v1/namespaces/lab/pods/web"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("server", "IP:127.0.0.1,IP:::1,DNS:kube.example")


@pytest.fixture
def start(host):
    servers = []

    def make(certificate, **keys):
        servers.append(Server(host, certificate, **keys))
        return servers[-1]
    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(start, certificate):
    return start(certificate)


@pytest.fixture
def setup(host, outside, server, authority, tmp_path):
    """The cluster's network on disk, `wire` as a definition, pod lab/web that wants it."""
    made = multi.Setup(tmp_path)
    made.cluster()
    server.put(multi.definition("wire", multi.without(configs.macvlan(made.data), "name"), "lab"))
    server.put(multi.pod("web", "lab", "uid-1", networks="wire"))
    made.keys.update(kubeconfig=api_server.kubeconfig(tmp_path / "kubeconfig", f"https://127.0.0.1:{server.port}",
                                                      authority.certificate), apiTimeout=2)
    return made


@pytest.fixture
def web(host, spaces, setup):
    def make(args=multi.pod_args("web", "lab", "uid-1"), **keys):
        return Attachment(host, setup.config(**keys), spaces.new("c"), args=args)
    return make


def left(host, setup, *containers):
    found = [l for l in host.links() if l not in ("cni0", "uplink")] + nft.ours(host) + multi.traces()
    return found + [f"{k}: {v}" for k, v in setup.reserved().items()] + [l for c in containers for l in c.links()]


def test_pod_and_definition_come_from_the_server_and_the_status_goes_there(host, server, setup, web):
    one = web()
    one.add()
    assert one.container.links() == ["eth0", "net1"] and traffic.ping(one.container, "198.18.0.2")
    annotation = server.objects[POD]["metadata"]["annotations"][STATUS]
    assert json.loads(annotation) == multi.status(one)
    assert [s["name"] for s in multi.status(one)] == ["kube-system/cluster", "lab/wire"]
    assert server.patches[0]["metadata"]["uid"] == "uid-1"
    assert ("PATCH", f"{POD}/status") in server.seen and server.connections == 1
    one.check().expect_ok()
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_everything_but_add_works_without_the_server(host, server, setup, web, spaces):
    one, other = web(), web()
    one.add()
    other.add()
    server.close()
    os.remove(setup.keys["kubeconfig"])
    one.check().expect_ok()
    one.delete().expect_ok()
    spaces.drop(other.container)
    gc(host, setup.config(), []).expect_ok()
    assert left(host, setup, one.container) == []


def test_status_does_not_ask_the_server_but_wants_a_kubeconfig(host, server, setup):
    status(host, setup.config()).expect_ok()
    status(host, setup.config(clusterNetwork="only-the-server-knows")).expect_ok()
    assert server.seen == []
    os.remove(setup.keys["kubeconfig"])
    status(host, setup.config()).expect_error(50, "kubeconfig")


def test_the_cluster_network_may_be_a_definition(server, setup, web):
    cluster = json.loads((setup.folder / "cluster.conflist").read_text())
    server.put(multi.definition("podnet", cluster, "kube-system"))
    one = web(clusterNetwork="podnet")
    one.add()
    assert [s["name"] for s in multi.status(one)] == ["kube-system/podnet", "lab/wire"]


def test_a_container_that_is_no_pod_asks_for_networks_only(server, setup, web):
    server.put(multi.definition("wire", multi.without(configs.macvlan(setup.data), "name")))
    one = web(args=None, networks="wire")
    one.add()
    assert one.container.links() == ["eth0", "net1"] and server.patches == []


def test_a_static_pods_mirror_has_another_uid(server, setup, web):
    server.objects[POD]["metadata"]["annotations"]["kubernetes.io/config.source"] = "file"
    web(args=multi.pod_args("web", "lab", "uid-of-the-file")).add()


# --- refused by the server ------------------------------------------------------------------------

@pytest.mark.parametrize("answer, code, words", [
    (api_server.status(401, "Unauthorized"), 7, "401"), (api_server.status(403, "pods is forbidden"), 7, "pods is forbidden"),
    (api_server.status(404), 3, "no such pod"), (api_server.status(429), 11, "429"), (api_server.status(500), 11, "500"),
    (api_server.status(503), 11, "503"), (api_server.status(302), 5, "302"), (api_server.status(400), 5, "400")])
def test_refusals_are_told_apart(answer, code, words, host, server, setup, web):
    server.answers["GET", POD] = answer
    one = web()
    one.try_add().expect_error(code, words, POD if code != 3 else "lab/web")
    assert left(host, setup, one.container) == []


def test_a_pod_of_the_same_name_that_is_another(host, server, setup, web):
    one = web(args=multi.pod_args("web", "lab", "uid-2"))
    one.try_add().expect_error(3, "uid-1", "uid-2")
    assert left(host, setup, one.container) == []


def test_a_definition_that_is_not_there(host, server, setup, web):
    server.put(multi.pod("web", "lab", "uid-1", networks="wire,gone"))
    one = web()
    one.try_add().expect_error(7, "lab/gone", "networks[1]")
    assert left(host, setup, one.container) == []


@pytest.mark.parametrize("answer, code", [(api_server.status(403, "pods/status is forbidden"), 7), (api_server.status(409, "uid"), 11),
                                          (api_server.raw(b"", 0), 11)])
def test_a_status_that_cannot_be_written_takes_all_back(answer, code, host, server, setup, web):
    server.answers["PATCH", f"{POD}/status"] = answer
    one = web()
    one.try_add().expect_error(code, "PATCH")
    assert left(host, setup, one.container) == []


def test_a_pod_that_went_meanwhile_is_no_failure(server, setup, web):
    server.answers["PATCH", f"{POD}/status"] = api_server.status(404)
    web().add()


# --- a server that misbehaves ---------------------------------------------------------------------

@pytest.mark.parametrize("answer, code", [
    (api_server.raw(b"", 30), 11), (api_server.drip, 11), (api_server.endless, 6), (api_server.raw(b"HELLO\r\n\r\n"), 6),
    (api_server.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", 30), 6),
    (api_server.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200000, 30), 6),
    (api_server.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}"), 11),
    (lambda h: api_server.answer(h, 200, b"{"), 6), (lambda h: api_server.answer(h, 200, b"[]"), 7),
    (lambda h: api_server.answer(h, 200, b"[" * 100000), 6), (lambda h: api_server.answer(h, 200, {"metadata": 7}), 7),
    (lambda h: api_server.answer(h, 200, {"metadata": {"name": "../x"}}), 7)],
    ids=["hangs", "drips", "endless", "no HTTP", "huge length", "huge header", "cut short", "no JSON", "list", "brackets", "number", "path"])
def test_bad_answers_are_bounded_and_named(answer, code, host, server, setup, web):
    server.answers["*"] = answer
    one = web()
    began = time.monotonic()
    one.try_add().expect_error(code)
    assert time.monotonic() - began < 4
    assert left(host, setup, one.container) == []


def test_an_answer_in_chunks(server, setup, web):
    server.answers["GET", POD] = api_server.chunked(server.objects[POD])
    web().add()


def test_nobody_listens(host, server, setup, web):
    server.close()
    one = web()
    one.try_add().expect_error(11, "connect")
    assert left(host, setup, one.container) == []


# --- TLS ------------------------------------------------------------------------------------------

def with_server(setup, server, authority, host="127.0.0.1", **keys):
    setup.keys["kubeconfig"] = api_server.kubeconfig(setup.folder.parent / "other", f"https://{host}:{server.port}",
                                                     authority and authority.certificate, **keys)
    server.put(multi.pod("web", "lab", "uid-1", networks=""))


@pytest.mark.parametrize("names, days, usage, words", [
    ("IP:127.0.0.2", 2, "serverAuth", "not for 127.0.0.1"), ("DNS:127.0.0.1", 2, "serverAuth", "not for 127.0.0.1"),
    ("", 2, "serverAuth", "not for 127.0.0.1"), ("IP:127.0.0.1", 2, "clientAuth", "refused")])
def test_a_certificate_that_does_not_fit_is_refused(names, days, usage, words, start, setup, authority, web):
    bad = start(authority.issue("bad", names, days, usage))
    with_server(setup, bad, authority)
    web().try_add().expect_error(7, "certificate", words)
    assert bad.seen == []  # not a byte of the token


def test_an_expired_certificate_is_refused(start, setup, authority, web):
    base = f"{authority.folder}/server"
    api_server.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial",
                       "-out", f"{base}-old.crt", "-days", "-1", "-extfile", f"{base}.ext")
    old = start((f"{base}-old.crt", f"{base}.key"))
    with_server(setup, old, authority)
    web().try_add().expect_error(7, "expired")
    assert old.seen == []


def test_another_authority_is_refused(start, setup, authority, web, tmp_path):
    impostor = Authority(tmp_path, "impostor")
    fake = start(impostor.issue("fake"))
    with_server(setup, fake, authority)
    web().try_add().expect_error(7, "certificate")
    assert fake.seen == []


@pytest.mark.parametrize("address", ["[::1]", "kube.example"])
def test_a_server_by_other_names(address, host, start, setup, authority, certificate, web, tmp_path):
    named = start(certificate, address="::1" if ":" in address else "127.0.0.1") if ":" not in address else None
    if named is None:
        import socket
        api_server.ThreadingHTTPServer.address_family = socket.AF_INET6
        try:
            named = start(certificate, address="::1")
        finally:
            api_server.ThreadingHTTPServer.address_family = socket.AF_INET
    hosts = tmp_path / "hosts"
    hosts.write_text("# a comment\n127.0.0.1\tlocalhost\n127.0.0.1 other KUBE.example # here\n")
    netns.bind_mount(str(hosts), "/etc/hosts")
    with_server(setup, named, authority, address)
    try:
        web().add()
    finally:
        os.system("umount /etc/hosts")


def test_tls_server_name_overrides(start, setup, authority, web):
    other = start(authority.issue("elsewhere", "DNS:elsewhere.example"))
    with_server(setup, other, authority, **{"tls-server-name": "elsewhere.example"})
    web().add()
    with_server(setup, other, authority, **{"tls-server-name": "somewhere.example"})
    web().try_add().expect_error(7, "certificate")


@pytest.mark.parametrize("rsa", [False, True], ids=["EC", "RSA"])
@pytest.mark.parametrize("inline", [False, True], ids=["files", "data"])
def test_a_client_certificate(rsa, inline, start, setup, authority, certificate, web):
    certificate_file, key_file = authority.issue("node", "", usage="clientAuth", rsa=rsa)
    strict = start(authority.issue("rsa-server", rsa=rsa), client_authority=authority)
    strict.token = None
    user = {"client-certificate": certificate_file, "client-key": key_file}
    if inline:
        user = {f"{k}-data": base64.b64encode(open(v, "rb").read()).decode() for k, v in user.items()}
    with_server(setup, strict, authority, user=user)
    web().add()
    asked = len(strict.seen)
    with_server(setup, strict, authority, user={})
    web().try_add().expect_error(11)
    assert asked and len(strict.seen) == asked


def test_old_tls_is_refused(start, setup, authority, certificate, web):
    old = start(certificate, versions=ssl.TLSVersion.TLSv1_1)
    with_server(setup, old, authority)
    web().try_add().expect_error(11, "TLS")


def test_a_service_accounts_folder(server, setup, authority, web, tmp_path):
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(api_server.TOKEN + "\n")
    shutil.copy(authority.certificate, folder / "ca.crt")
    web(kubeconfig=str(folder), apiServer=f"https://127.0.0.1:{server.port}").add()
    web(kubeconfig=str(folder)).try_add().expect_error(7, "apiServer")


@pytest.mark.parametrize("user, cluster, words", [
    ({"token": "a b"}, {}, "token"), ({"exec": "{}"}, {}, "exec"), ({"username": "admin", "password": "admin"}, {}, "password"),
    ({}, {"insecure-skip-tls-verify": "true"}, "insecure-skip-tls-verify"), ({"tokenFile": "/no/such"}, {}, "/no/such"),
    ({"client-certificate-data": "'***'"}, {}, "base64"), ({"client-certificate": "/etc/hostname", "client-key": "/etc/hostname"}, {}, "client")])
def test_kubeconfigs_that_cannot_be_used(user, cluster, words, host, server, setup, authority, web):
    with_server(setup, server, authority, user=user, **cluster)
    one = web()
    one.try_add().expect_error((5, 7), words)
    assert left(host, setup, one.container) == []


def test_a_kubeconfig_without_authority_is_refused(server, setup, web):
    with_server(setup, server, None)
    web().try_add().expect_error(7, "certificate-authority")


def test_a_server_without_tls_is_refused(server, setup, authority, web):
    with_server(setup, server, authority)
    path = setup.keys["kubeconfig"]
    text = open(path).read().replace("https://", "http://")
    with open(path, "w") as f:
        f.write(text)
    web().try_add().expect_error(7, "https")
