"""What operators, dashboards and load balancers see of the role `services`: the answers that kube-proxy gives."""
import contextlib
import http.client
import json
import socket

import pytest

from lib import balance, cluster
from lib.balance import NODE_ADDRESSES, slice_of

pytestmark = pytest.mark.netns
HEALTHZ, METRICS = 10256, 10249


@pytest.fixture
def balanced(spaces, tmp_path):
    one = balance.Balanced(spaces, tmp_path)
    yield one
    one.close()


def ask(balanced, address, port, path, space="node"):
    """Status, headers and body; from the node itself or from somewhere else."""
    with balanced.spaces[space].enter():
        one = socket.socket(balance.family(address))
    one.settimeout(5)
    connection = http.client.HTTPConnection(address, port)
    with contextlib.closing(connection):
        one.connect((address, port))
        connection.sock = one
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def sample(text, name):
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " ")), None)


def local_service(port=32000, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "test"},
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port,
                     "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "nodePort": 30080}], **spec}}


def endpoints(*addresses, **metadata):
    one = slice_of("web-1", "web", [{"addresses": [a], "nodeName": balance.NODE_OF[a]} for a in addresses], [{"port": 8080}])
    one["metadata"].update(metadata)
    return one


def test_a_health_check_node_port_follows_the_endpoints_of_this_node(balanced):
    balanced.start()
    for here in (["10.1.0.2", "10.1.0.3"], ["10.1.0.2"], []):
        balanced.set([local_service(), endpoints(*here, "10.2.0.2")])
        for address in NODE_ADDRESSES:
            status, headers, body = ask(balanced, address, 32000, "/any/path", "outside")
            assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (200 if here else 503, str(len(here)))
            assert json.loads(body) == {"service": {"namespace": "test", "name": "web"}, "localEndpoints": len(here),
                                        "serviceProxyHealthy": True}


def test_a_health_check_node_port_moves_and_goes_with_its_service(balanced):
    balanced.start()
    balanced.set([local_service(32000), endpoints("10.1.0.2")])
    balanced.set([local_service(32001), endpoints("10.1.0.2")])
    assert ask(balanced, NODE_ADDRESSES[0], 32001, "/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        ask(balanced, NODE_ADDRESSES[0], 32000, "/")
    balanced.set([])
    with pytest.raises(ConnectionRefusedError):
        ask(balanced, NODE_ADDRESSES[0], 32001, "/")


def test_a_port_that_somebody_else_has_is_a_complaint(balanced):
    with balanced.node.enter():
        taken = [socket.create_server(("0.0.0.0", port)) for port in (32000, HEALTHZ)]
    balanced.start()
    balanced.set([local_service(), endpoints("10.1.0.2")])
    complaints = [c["what"] for c in balanced.get("/v1/status")["roles"][0]["complaints"]]
    assert any("0.0.0.0:32000" in c and "test/web" in c for c in complaints), complaints
    assert any("0.0.0.0:10256" in c for c in complaints), complaints
    for one in taken:
        one.close()
    for port in (32000, HEALTHZ):
        cluster.wait_until(lambda: can_ask(balanced, NODE_ADDRESSES[0], port, "/livez"), balanced.log)
    cluster.wait_until(lambda: not balanced.get("/v1/status")["roles"][0]["complaints"], balanced.log)


def test_healthz_is_bad_without_the_node_and_livez_is_not(balanced):
    balanced.start()
    cluster.wait_until(lambda: can_ask(balanced, "127.0.0.1", HEALTHZ, "/livez"), balanced.log)
    assert ask(balanced, "127.0.0.1", HEALTHZ, "/healthz")[0] == 503
    assert ask(balanced, "127.0.0.1", HEALTHZ, "/livez")[0] == 200
    balanced.set([])
    status, _, body = ask(balanced, NODE_ADDRESSES[0], HEALTHZ, "/healthz", "outside")
    assert status == 200 and json.loads(body)["nodeEligible"] is True
    _, _, text = ask(balanced, "127.0.0.1", METRICS, "/metrics")
    assert sample(text, 'kubeproxy_proxy_healthz_total{code="503"}') >= 1
    assert sample(text, 'kubeproxy_proxy_healthz_total{code="200"}') == 1


def can_ask(balanced, address, port, path="/"):
    with contextlib.suppress(ConnectionRefusedError):
        return ask(balanced, address, port, path)[0] == 200
    return False


def test_metrics_have_kube_proxys_names(balanced):
    balanced.start()
    balanced.set([local_service(), endpoints("10.2.0.2", annotations={
        "endpoints.kubernetes.io/last-change-trigger-time": "2099-01-01T00:00:00.5Z"})])
    _, headers, text = ask(balanced, "127.0.0.1", METRICS, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert sample(text, 'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}') >= 1
    assert sample(text, 'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv6"}') == 1
    assert sample(text, 'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"}') == 1
    assert sample(text, "kubeproxy_sync_proxy_rules_service_changes_total") >= 2
    assert sample(text, "kubeproxy_sync_proxy_rules_service_changes_pending") == 0
    assert sample(text, "culvert_services_elements_added_total") > 0


def test_tools_find_what_they_ask_kube_proxy_for(balanced):
    balanced.settings = {"masqueradeAll": True, "metrics": {"address": "127.0.0.1:10333"}}
    balanced.start()
    balanced.set([])
    assert ask(balanced, "127.0.0.1", 10333, "/healthz")[2] == "ok"
    assert ask(balanced, "127.0.0.1", 10333, "/proxyMode")[2] == "nftables"
    shown = json.loads(ask(balanced, "127.0.0.1", 10333, "/configz")[2])["kubeproxy.config.k8s.io"]
    assert shown["nftables"]["masqueradeAll"] is True and shown["metricsBindAddress"] == "127.0.0.1:10333"


def ask_service(balanced, address, port):
    """The endpoint that answers, as a client on the node sees it."""
    with balanced.node.enter(), socket.create_connection((address, port), timeout=5) as one:
        return one.recv(100).decode().split()[0]


@pytest.mark.parametrize("localhost", ["127.0.0.1", "::1"])
def test_node_ports_are_open_at_localhost_if_that_is_wanted(balanced, localhost):
    remote, number = ("fd02::2", "2") if ":" in localhost else ("10.2.0.2", "1")
    cluster_ip = "fd96::1" if ":" in localhost else "10.96.0.1"
    service = local_service(clusterIPs=[cluster_ip], type="NodePort", healthCheckNodePort=None)
    one = slice_of("web-1", "web", [{"addresses": [remote], "nodeName": "n2"}], [{"port": 8080}],
                   f"IPv{'6' if number == '2' else '4'}")
    balanced.settings = {"nodePortAddresses": ["primary", "localhost"]}
    balanced.start()
    balanced.set([service, one])
    assert ask_service(balanced, localhost, 30080) == remote, "the policy Local is for others: this host reaches all endpoints"
    assert sample(ask(balanced, "127.0.0.1", METRICS, "/metrics")[2], "kubeproxy_nftables_localhost_nodeport_listeners") == 1
    balanced.set([service])
    with pytest.raises(ConnectionRefusedError):
        ask_service(balanced, localhost, 30080)
    assert balanced.node.run("sysctl", "-n", "net.ipv4.conf.all.route_localnet").strip() == "0"


def test_node_ports_are_not_open_at_localhost_otherwise(balanced):
    balanced.start()
    balanced.set([local_service(), endpoints("10.1.0.2")])
    with pytest.raises(ConnectionRefusedError):
        ask_service(balanced, "127.0.0.1", 30080)


KUBE_PROXY = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs:
  scheduler: lc
metricsBindAddress: 127.0.0.1:10333
nodePortAddresses: [127.0.0.0/8, 198.18.9.0/24]
conntrack:
  tcpEstablishedTimeout: 2h
  udpTimeout: 70s
speed: high
"""


def test_a_kube_proxy_configuration_is_taken_as_it_is(balanced, tmp_path):
    (tmp_path / "config.conf").write_text(KUBE_PROXY)
    balanced.settings = {"kubeProxyConfig": str(tmp_path / "config.conf"), "conntrack": {"udpTimeout": "80s"}}
    balanced.start()
    balanced.set([local_service(externalTrafficPolicy="Cluster"), endpoints("10.1.0.2")])
    assert ask(balanced, "127.0.0.1", 10333, "/proxyMode")[2] == "nftables"
    assert balanced.connect("outside", "198.18.9.1", 30080)[0] == "forward"
    assert balanced.connect("outside", "fd18:9::1", 30080)[0] == "reject", "IPv6 is not in nodePortAddresses"
    for key, value in (("tcp_timeout_established", "7200"), ("udp_timeout", "80")):
        assert balanced.node.run("sysctl", "-n", f"net.netfilter.nf_conntrack_{key}").strip() == value
    warnings = [line for line in balanced.log().splitlines() if "KubeProxyConfiguration" in line]
    for line, field in ((3, "mode"), (5, "ipvs.scheduler"), (11, "speed")):
        assert any(f"config.conf:{line}: {field}:" in one for one in warnings), warnings
    assert len(warnings) == 3, warnings


def test_a_kube_proxy_configuration_that_is_wrong_changes_nothing(balanced, tmp_path):
    (tmp_path / "config.conf").write_text(KUBE_PROXY.replace("ipvs\n", "userspace\n", 1).replace("70s", "long"))
    balanced.settings = {"kubeProxyConfig": str(tmp_path / "config.conf")}
    balanced.start()
    assert balanced.process.wait(30) != 0
    log = balanced.log()
    assert "config.conf:3: mode" in log and "config.conf:10: conntrack.udpTimeout" in log, log
    assert "culvert_services" not in balanced.node.run("nft", "list", "tables")


def test_what_belongs_to_the_machine_is_a_complaint_where_it_cannot_be_set(balanced):
    balanced.settings = {"conntrack": {"maxPerCore": 1000}}
    balanced.start()
    balanced.set([local_service(), endpoints("10.1.0.2")])
    assert any("services.conntrack: " in what for what in balanced.complaints()), "nf_conntrack_max is the machine's"
    assert balanced.connect("outside", NODE_ADDRESSES[0], 30080)[0] == "forward"
