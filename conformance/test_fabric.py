"""Nodes whose daemon speaks BGP to the fabric through BIRD: the router learns where pods are, and nodes what it knows."""
import os
import signal
import subprocess

import pytest

from lib import bgp, traffic
from lib import fabric as fabrics
from lib.cluster import V4, wait_until
from lib.fabric import configuration, established, learned, peer_objects, routes, sessions

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not os.path.exists(bgp.BIRD), reason="BIRD is not installed (package bird2)"),
]


@pytest.fixture
def fabric(spaces, tmp_path):
    made = []

    def build(*objects, **options):
        made.append(fabrics.build(spaces, tmp_path / "cluster", *objects, **options))
        return made[-1]

    yield build
    for one in made:
        fabrics.close(one)


def test_the_fabric_learns_where_pods_are(fabric):
    one = fabric(*peer_objects())
    n1, n3 = one.nodes[0], one.nodes[2]
    wait_until(lambda: learned(one), lambda: f"{routes(one.router)}\n{sessions(n1)}\n{n1.role()}", seconds=60)
    a, b = n1.pod(), n3.pod()
    assert traffic.reach(a.ns, b.ns, b.addresses[V4]) == a.addresses[V4], "through the router, without a tunnel"
    wait_until(lambda: "203.0.113.0/24" in routes(n1.ns), "nodes learn what the fabric knows")
    wait_until(lambda: established(n1), lambda: str(sessions(n1)))
    wait_until(lambda: n1.role()["state"] == "ok", lambda: str(n1.role()))


def test_a_password_from_a_secret(fabric):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp", "namespace": "kube-system"}, "stringData": {"tor": "s3cret"}}
    one = fabric(secret, *peer_objects(password={"secretKeyRef": {"name": "bgp", "key": "tor"}}), password="s3cret")
    wait_until(lambda: learned(one), lambda: f"{routes(one.router)}\n{sessions(one.nodes[0])}\n{one.nodes[0].role()}", seconds=60)


def test_neither_a_restart_of_the_daemon_nor_of_bird_costs_a_route(fabric):
    one = fabric(*peer_objects())
    n1 = one.nodes[0]
    wait_until(lambda: learned(one), lambda: routes(one.router), seconds=60)
    watch = subprocess.Popen(["nsenter", f"--net={one.router.path}", "ip", "monitor", "route"], stdout=subprocess.PIPE, text=True)
    try:
        n1.stop(kill=True)
        n1.start()
        one.wait()
        n1.bird.end(signal.SIGKILL)
        n1.bird.start()
        wait_until(lambda: established(n1), lambda: str(sessions(n1)), seconds=60)
        assert learned(one)
    finally:
        watch.terminate()
    heard = watch.communicate()[0]
    assert f"Deleted {n1.pods[V4]}" not in heard, heard


def test_a_broken_object_is_reported_and_disturbs_nobody(fabric):
    one = fabric(*peer_objects())
    n1 = one.nodes[0]
    wait_until(lambda: learned(one), lambda: routes(one.router), seconds=60)
    one.source.put({"apiVersion": "culvert.dev/v1", "kind": "BGPPeer", "metadata": {"name": "broken"}, "spec": {"peerIP": "nowhere", "asNumber": -1}})
    wait_until(lambda: any("BGPPeer broken" in c["what"] for c in n1.role()["complaints"]), lambda: str(n1.role()))
    wait_until(lambda: established(n1), lambda: str(sessions(n1)), seconds=60)
    assert learned(one)


def test_a_service_is_announced_from_nodes_with_an_endpoint(fabric):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "externalTrafficPolicy": "Local"},
               "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}

    def slice_of(ready):
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
                "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": ready}},
                              {"addresses": ["10.244.3.2"], "nodeName": "n3", "conditions": {"ready": True}}]}

    one = fabric(configuration(serviceLoadBalancerIPs=[{"cidr": "192.0.2.0/24"}]), *peer_objects(), service, slice_of(True))

    def gateways():
        shown = one.router.ip("route", "show", "192.0.2.9")
        return {node.name for node in one.nodes if node.addresses[V4] in shown}

    wait_until(lambda: gateways() and gateways() <= {"n1", "n3"}, lambda: f"{routes(one.router)}\n{one.nodes[0].role()}", seconds=60)
    one.source.put(slice_of(False))
    wait_until(lambda: gateways() == {"n3"}, lambda: routes(one.router))
