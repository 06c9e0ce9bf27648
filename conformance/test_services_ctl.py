"""`culvertctl services`: what it says of a running daemon's Services, held against real packets."""
import json
import subprocess

import pytest

from lib import balance, cluster
from lib.balance import NODE_OF, slice_of
from lib.pair import TERMINATING

pytestmark = pytest.mark.netns
FORWARD, FAILED, REJECT, DROP, NOT_OURS = 0, 2, 3, 4, 5
CLIENT = {"pod": "10.1.0.2", "host": "198.18.9.1", "outside": "198.18.9.2"}


@pytest.fixture
def balanced(spaces, tmp_path):
    one = balance.Balanced(spaces, tmp_path)
    one.start()
    yield one
    one.close()


def ctl(balanced, *arguments):
    return subprocess.run([f"{cluster.BIN}/culvertctl", "--socket", f"{balanced.folder}/sock", *arguments],
                          capture_output=True, text=True, timeout=60)


def said(balanced, *arguments):
    return json.loads(ctl(balanced, "-o", "json", *arguments).stdout)


def service(name="web", number=1, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "test"},
            "spec": {"clusterIPs": [f"10.96.0.{number}", f"fd96::{number}"],
                     "ports": [{"name": "a", "port": 80, "nodePort": 30080 + number}], **spec}}


def endpoint(address, **conditions):
    return {"addresses": [address], "nodeName": NODE_OF[address], "conditions": conditions}


def endpoints(*list, name="web", slice_name=None, kind="IPv4", port="a"):
    return slice_of(slice_name or f"{name}-{kind.lower()}", name, list, [{"name": port, "port": 8080}], kind)


UNREADY = {"ready": False, "serving": False}


def rows(text):
    """A table's lines, split where two blanks are."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_the_list_is_a_table_of_frontends(balanced):
    balanced.set([service(sessionAffinity="ClientIP", externalTrafficPolicy="Local"),
                  endpoints(endpoint("10.1.0.2"), endpoint("10.2.0.2"), endpoint("10.2.0.3", **UNREADY))])
    done = ctl(balanced, "services")
    assert done.returncode == 0, done.stderr
    lines = rows(done.stdout)
    assert lines[0] == ["SERVICE", "FRONTEND", "KIND", "POLICY", "AFFINITY", "ENDPOINTS", "PROBLEM"]
    assert ["test/web", "10.96.0.1:80/TCP", "ClusterIP", "Cluster", "ClientIP, 3 h", "2 of 3"] in lines
    assert ["test/web", "*:30081/TCP", "NodePort", "Local", "ClientIP, 3 h", "2 of 3"] in lines
    assert ["test/web", "[fd96::1]:80/TCP", "ClusterIP", "Cluster", "ClientIP, 3 h", "0 of 0", "no usable endpoint: refused"] in lines
    row = next(r for r in said(balanced, "services")["services"] if r["frontend"] == "10.96.0.1:80/TCP")
    assert row["endpoints"] == ["10.1.0.2:8080", "10.2.0.2:8080"] and row["local"] == ["10.1.0.2:8080"]


@pytest.mark.parametrize("spec, slices, used", [
    ({}, [[endpoint("10.1.0.2"), endpoint("10.2.0.2", **UNREADY), endpoint("10.2.0.3", **TERMINATING)]], {"10.1.0.2:8080"}),
    ({}, [[endpoint("10.1.0.2", **UNREADY), endpoint("10.2.0.3", **TERMINATING)]], {"10.2.0.3:8080"}),
    ({"internalTrafficPolicy": "Local"}, [[endpoint("10.1.0.2"), endpoint("10.2.0.2")]], {"10.1.0.2:8080"}),
    ({}, [[endpoint("10.2.0.2", **TERMINATING)], [endpoint("10.2.0.2")]], {"10.2.0.2:8080"}),
], ids=["ready", "fallback", "local", "twice"])
def test_the_endpoints_said_to_be_used_are_those_that_get_packets(balanced, spec, slices, used):
    balanced.set([service(**spec), *(endpoints(*one, slice_name=f"web-{i}") for i, one in enumerate(slices))])
    [described] = said(balanced, "services", "web")["services"]
    port = next(p for p in described["ports"] if p["family"] == "IPv4")
    assert {e["endpoint"] for e in port["endpoints"] if e["used"] == "yes"} == used
    assert len(port["endpoints"]) == sum(map(len, slices)), "every endpoint is listed, used or not"
    assert {balanced.connect("outside", "10.96.0.1", 80)[1] for _ in range(30)} == used


def test_the_reason_stands_beside_each_endpoint(balanced):
    balanced.set([service(), endpoints(endpoint("10.1.0.2"), endpoint("10.2.0.2", **UNREADY), endpoint("10.2.0.3", **TERMINATING)),
                  endpoints(endpoint("10.2.0.4"), slice_name="other", port="metrics")])
    lines = rows(ctl(balanced, "services", "test/web").stdout)
    for line in (["10.1.0.2:8080", "n1", "web-ipv4", "yes", "ready"], ["10.2.0.2:8080", "n2", "web-ipv4", "no", "not ready"],
                 ["10.2.0.3:8080", "n2", "web-ipv4", "no", "terminating, and others are ready"],
                 ["10.2.0.4", "n2", "other", "no", "its slice has no port of this name and protocol"]):
        assert line in lines


def test_a_conflict_names_who_has_the_address(balanced):
    balanced.set([service(), service("thief", 2, externalIPs=["10.96.0.1"]), endpoints(endpoint("10.1.0.2"))])
    text = ctl(balanced, "services", "thief").stdout
    assert "10.96.0.1:80/TCP is claimed by test/web, test/thief; the first has it" in text
    assert "it is test/web's" in ctl(balanced, "services").stdout


def test_a_malformed_service_is_a_problem_in_the_list(balanced):
    broken = service("broken", 3)
    broken["spec"]["sessionAffinity"] = "Sometimes"
    balanced.set([broken])
    listed = ctl(balanced, "services")
    assert "test/broken" in listed.stdout and "is none of None, ClientIP" in listed.stdout
    assert "is none of None, ClientIP" in ctl(balanced, "services", "broken").stdout


def test_an_unknown_service_is_an_error(balanced):
    balanced.set([])
    for name in ("nobody", "other/marker", "a b/../&name=marker"):
        done = ctl(balanced, "services", name)
        assert done.returncode == FAILED and f"there is no Service {name}" in done.stderr


TRACES = [
    ("pod", "10.96.0.1:80", FORWARD), ("outside", "10.96.0.1:80/tcp", FORWARD), ("host", "10.96.0.1:80", FORWARD),
    ("pod", "10.96.0.1:81", REJECT), ("pod", "10.96.0.2:80", REJECT), ("outside", "203.0.113.1:80", DROP),
    ("pod", "203.0.113.1:80", FORWARD), ("outside", "198.18.9.1:30081", DROP), ("outside", "203.0.113.11:80", DROP),
]


@pytest.mark.parametrize("client, to, code", TRACES)
def test_a_trace_says_what_happens(balanced, client, to, code):
    first = service(externalTrafficPolicy="Local", externalIPs=["203.0.113.1"], loadBalancerSourceRanges=["192.0.2.0/24"])
    first["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.11"}]}}
    balanced.set([first, service("idle", 2), endpoints(endpoint("10.2.0.2"), endpoint("10.2.0.3"))])
    told = ctl(balanced, "services", "trace", CLIENT[client], to)
    assert told.returncode == code, told
    assert f"- {CLIENT[client]} is {'this host' if client == 'host' else 'a pod' if client == 'pod' else 'outside'}" in told.stdout
    address, port = to.split("/")[0].split(":")
    happened = balanced.connect(client, address, int(port))
    assert {"forward": FORWARD, "reject": REJECT, "drop": DROP}[happened[0]] == code, happened
    if code == FORWARD:
        lines = rows(told.stdout)
        sees = "this node" if happened[2] or client == "host" else "the source"
        assert [happened[1], "50 %", "another node", sees] in lines


def test_a_trace_in_ipv6_and_json(balanced):
    balanced.set([service(), endpoints(endpoint("fd02::2"), kind="IPv6")])
    done = ctl(balanced, "services", "trace", "fd01::2", "[fd96::1]:80", "-o", "json")
    told = json.loads(done.stdout)
    assert done.returncode == FORWARD and told["service"] == "test/web"
    assert told["endpoints"] == [{"endpoint": "[fd02::2]:8080", "local": False, "masquerade": False, "probability": 1.0}]
    assert balanced.connect("pod", "fd96::1", 80) == ("forward", "[fd02::2]:8080", False)


def test_what_is_no_services_is_said_to_be_left_alone(balanced):
    balanced.set([service()])
    done = ctl(balanced, "services", "trace", "10.1.0.2", "198.18.9.2:80/UDP")
    assert done.returncode == NOT_OURS and "is no Service's: left alone" in done.stdout


@pytest.mark.parametrize("arguments, words", [
    (["10.1.0.2"], "usage: culvertctl services trace"), (["10.1.0.2", "10.96.0.1"], "is no destination"),
    (["me", "10.96.0.1:80"], "is no IP address"), (["10.1.0.2", "10.96.0.1:80/ICMP"], "none of TCP, UDP, SCTP"),
    (["fd01::2", "10.96.0.1:80"], "not of one IP version"), (["10.1.0.2", "10.96.0.1:70000"], "is no port"),
])
def test_a_wrong_question_is_refused(balanced, arguments, words):
    balanced.set([])
    done = ctl(balanced, "services", "trace", *arguments)
    assert done.returncode == FAILED and words in done.stderr and done.stdout == ""


def test_bash_completes_them():
    script = subprocess.run([f"{cluster.BIN}/culvertctl", "completion", "bash"], capture_output=True, text=True, check=True).stdout
    run = f"{script}\nCOMP_WORDS=(culvertctl services tr); COMP_CWORD=2; _culvertctl; echo \"${{COMPREPLY[@]}}\""
    assert subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True).stdout.split() == ["trace"]
