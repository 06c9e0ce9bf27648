"""The role `services` with the Kubernetes API: what it asks for, what it misses, and what happens to packets meanwhile."""
import contextlib
import itertools
import urllib.parse

import pytest

from lib import pair, sources
from lib.cluster import wait_until
from lib.echo import TCP, UDP
from lib.pair import FAMILIES, backend, place, service, slices

pytestmark = pytest.mark.netns

ROUTER = "198.18.9.1"
PROXY_NAME, HEADLESS = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"


class Served:
    """Two nodes, and the API server behind the router."""

    def __init__(self, spaces, folder):
        self.two = pair.Pair(spaces, folder / "pair")
        self.router = self.two.spaces["router"]
        (folder / "api").mkdir()
        with self.router.enter():
            self.api = sources.Kubernetes(folder / "api", address=ROUTER)
        for daemon in self.two.daemons.values():
            daemon.source = {"type": "kubernetes", "kubernetes": {"kubeconfig": self.api.kubeconfig}}
        self.put(*(self.two.node_object(name) for name in pair.NODE))

    def put(self, *objects):
        with self.router.enter():
            for one in objects:
                self.api.put(one)

    def delete(self, *objects):
        with self.router.enter():
            for one in objects:
                self.api.delete(one)

    def control(self, what, **how):
        with self.router.enter():
            return self.api.api.control(what, **how)

    def stop(self):
        self.api.stop()

    def start(self):
        with self.router.enter():
            self.api.start()

    @contextlib.contextmanager
    def apart(self):
        """The nodes cannot reach the server; what happens in the block they have missed."""
        port = self.api.api.config["port"]
        self.router.run("nft", "-f", "-", stdin="table inet apart { chain input { type filter hook input priority 0; "
                                                f'iifname {{ "to-n1", "to-n2" }} tcp dport {port} drop; }}; }}')
        yield
        self.router.run("nft", "delete", "table", "inet", "apart")

    def close(self):
        self.two.close()
        self.api.close()


@pytest.fixture
def served(spaces, tmp_path):
    made = Served(spaces, tmp_path)
    yield made
    made.close()


def becomes(two, number, wanted, kinds=("ClusterIP", "NodePort")):
    """What clients of Service s<number> get, once its daemon knows: one of these endpoints, or "reject"."""
    def answers(f, client, kind, protocol):
        said = two.ask(client, *place(kind, number, f), protocol, timeout=1)
        return said[1] in {backend(pod, f) for pod in wanted} if said[0] == "forward" and wanted != "reject" else said[0] == wanted

    for case in itertools.product(FAMILIES, ("a", "outside"), kinds, (TCP, UDP)):
        wait_until(lambda c=case: answers(*c), lambda c=case: f"{c} does not get {wanted}: {two.daemons['n1'].log()[-1500:]}")


def goes_on(two, number, wanted):
    """At once, and for every connection."""
    for f, client, protocol in itertools.product(FAMILIES, ("a", "outside"), (TCP, UDP)):
        said = two.ask(client, *place("ClusterIP", number, f), protocol)
        assert said[0] == "forward" and said[1] in {backend(pod, f) for pod in wanted}, (f, client, protocol, said)


def named(daemon):
    return {row["service"] for row in daemon.rows()}


def labelled(one, **labels):
    return {**one, "metadata": {**one["metadata"], "labels": {**one["metadata"].get("labels", {}), **labels}}}


def test_only_what_is_for_this_node_is_asked_for(served):
    two = served.two
    headless = service(3)
    headless["spec"].update(clusterIPs=["None"], clusterIP="None")
    served.put(service(1), *slices(1, "b"), labelled(service(2), **{PROXY_NAME: "other"}), *slices(2, "b"),
               headless, *[labelled(one, **{HEADLESS: ""}) for one in slices(3, "b")])
    served.control("requests")
    two.start()
    becomes(two, 1, {"b"})
    for daemon in two.daemons.values():
        daemon.await_ready()
    assert named(two.daemons["n1"]) == {"test/s1"}
    asked = [urllib.parse.unquote(path) for _, path in served.control("requests")]
    for resource, selector in (("services", f"!{PROXY_NAME}"), ("services", f"!{HEADLESS}"), ("endpointslices", f"!{HEADLESS}"),
                               ("nodes", "metadata.name=n1"), ("nodes", "metadata.name=n2")):
        assert any(f"/{resource}?" in path and selector in path for path in asked), f"{resource} {selector}: {asked}"
    assert all("Selector=" in path for path in asked if "/services?" in path or "/endpointslices?" in path or "/nodes?" in path), asked


def test_kube_proxys_configuration_says_where_the_api_server_is_and_who_we_are(served, tmp_path):
    two, n1 = served.two, served.two.daemons["n1"]
    (tmp_path / "config.conf").write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nhostnameOverride: N1\n"
        f"clientConnection: {{kubeconfig: {served.api.kubeconfig}}}\n")
    n1.source, n1.name, n1.settings = None, None, {"kubeProxyConfig": str(tmp_path / "config.conf")}
    served.control("requests")
    served.put(service(1), *slices(1, "b"))
    two.start()
    becomes(two, 1, {"b"})
    asked = [urllib.parse.unquote(path) for _, path in served.control("requests")]
    assert any("/nodes?" in path and "metadata.name=n1" in path for path in asked), asked


def test_a_label_that_comes_or_goes_is_a_service_that_goes_or_comes(served):
    two = served.two
    served.put(service(1), *slices(1, "b"))
    two.start()
    becomes(two, 1, {"b"})
    n1 = two.daemons["n1"]
    for label in (PROXY_NAME, HEADLESS):
        served.put(labelled(service(1), **{label: "other"}))
        n1.await_(lambda: not named(n1))
        served.put(service(1))
        becomes(two, 1, {"b"})


def test_deletions_that_were_missed_are_made_up_for(served):
    """The server has forgotten its history (410): only the new list says what is gone (cilium issue 48050)."""
    two = served.two
    both = slices(1, "b"), slices(1, "c", name="s1")
    more = [{**one, "metadata": {**one["metadata"], "name": f"more-{one['metadata']['name']}"}} for one in both[1]]
    served.put(service(1), *both[0], *more, service(2), *slices(2, "d"))
    two.start()
    becomes(two, 1, {"b", "c"})
    becomes(two, 2, {"d"})
    served.stop()
    with served.apart():
        served.start()
        served.delete(*both[0], service(2))
        served.put(service(3), *slices(3, "d"))
    becomes(two, 3, {"d"})
    goes_on(two, 1, {"c"})
    for daemon in two.daemons.values():
        daemon.await_(lambda d=daemon: named(d) == {"test/s1", "test/s3"})
        assert not [line for line in daemon.table() if "10.96.0.2" in line or "fd96::2" in line], "nothing is left of what was deleted"


def test_packets_flow_while_the_server_is_away(served):
    two = served.two
    served.put(service(1), *slices(1, "b", "c"))
    two.start()
    becomes(two, 1, {"b", "c"})
    n1 = two.daemons["n1"]
    before = n1.table()
    served.stop()
    goes_on(two, 1, {"b", "c"})
    for kill in (False, True):
        n1.stop(kill)
        n1.start()
        n1.await_(lambda: n1.try_get("/v1/status"))
        goes_on(two, 1, {"b", "c"})
        assert n1.table() == before, "nothing may be concluded from a source that does not answer"
    with served.apart():
        served.start()
        served.put(*slices(1, "d"))
    becomes(two, 1, {"d"})


@pytest.mark.parametrize("what", ["services", "endpointslices", "nodes"])
def test_a_view_that_is_half_loaded_changes_nothing(served, what):
    """Services are listed, their slices are not yet (cilium issues 27215, 26912): they must not look like Services without endpoints."""
    two = served.two
    served.put(service(1), *slices(1, "b", "c"))
    two.start()
    becomes(two, 1, {"b", "c"})
    n1 = two.daemons["n1"]
    before = n1.table()
    n1.stop(kill=True)
    served.control("fail", times=4, code=503, path=f"/{what}")
    n1.start()
    checks = 0
    while (n1.role() or {"state": "starting"})["state"] == "starting":
        goes_on(two, 1, {"b", "c"})
        assert n1.table() == before
        checks += 1
    assert checks, "the daemon has not waited for what it could not get"
    goes_on(two, 1, {"b", "c"})
    assert n1.table() == before


def test_streams_of_changes_that_are_cut_lose_nothing(served):
    two = served.two
    served.put(service(1), *slices(1, "b"))
    two.start()
    becomes(two, 1, {"b"})
    for pods in (("c",), ("d",), ("b", "c")):
        served.control("cut")
        served.put(*slices(1, *pods))
        becomes(two, 1, set(pods))
    served.control("cut")
    served.control("compact")
    served.put(*slices(1, "d"))
    becomes(two, 1, {"d"})
