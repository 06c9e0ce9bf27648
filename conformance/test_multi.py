"""multi: several networks for one container, from a folder of conflists and manifests."""
import glob
import json
import os

import pytest

from lib import cni, configs, multi, nft, traffic
from lib.cni import OURS, OURS_DIR, REFERENCE_DIR, RELEASED, Attachment, Plugins, at_least, gc, status

pytestmark = pytest.mark.netns


@pytest.fixture
def setup(host, outside, tmp_path):
    """The cluster's bridge network, and a second network on the wire."""
    made = multi.Setup(tmp_path)
    made.cluster()
    made.macvlan()
    return made


@pytest.fixture
def attach(host, spaces):
    def make(config, **keys):
        return Attachment(host, config, keys.pop("container", None) or spaces.new("c"), **keys)
    return make


def addresses(ns, name):
    shown = json.loads(ns.ip("-j", "address", "show", "dev", name))[0]["addr_info"]
    return [a["local"] for a in shown if a["scope"] == "global"]


def default_routes(ns, family="-4"):
    return [(r.get("gateway"), r["dev"]) for r in json.loads(ns.ip("-j", family, "route", "show", "default"))]


def left(host, setup, *containers):
    """Everything that is still there and should not be."""
    bridges = {"cni0", "uplink", *(l for l in host.links() if l.startswith("br-"))}
    found = [l for l in host.links() if l not in bridges] + nft.ours(host) + multi.traces()
    for container in containers:
        found += container.links()
    return found + [f"{k}: {v}" for k, v in setup.reserved().items()] + glob.glob("/run/culvert/attachments/*/*")


# --- what it is for -------------------------------------------------------------------------------

@pytest.mark.parametrize("version", RELEASED)
def test_two_networks_in_every_version(version, host, outside, attach, tmp_path):
    setup = multi.Setup(tmp_path, version)
    setup.cluster()
    setup.macvlan()
    one = attach(setup.config(networks="wire"))
    one.add()
    assert one.container.links() == ["eth0", "net1"]
    assert traffic.reach(one.container, outside, "198.18.0.2") == addresses(one.container, "net1")[0]
    if at_least(version, "0.3.0"):  # the result is the cluster-wide network's
        assert [i["name"] for i in one.result["interfaces"] if i.get("sandbox")] == ["eth0"]
        assert one.addresses[0] in addresses(one.container, "eth0")
    if at_least(version, "0.4.0"):
        one.check().expect_ok()
    one.delete().expect_ok()
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_packets_pass_over_both_networks(host, outside, attach, setup):
    one, other = attach(setup.config(networks="wire")), attach(setup.config(networks="wire"))
    for attachment in (one, other):
        attachment.add()
    for name in ("eth0", "net1"):
        for address in addresses(other.container, name):
            assert traffic.ping(one.container, address), f"{address} on {name}"
    assert traffic.reach(outside, one.container, addresses(one.container, "net1")[0]) == "198.18.0.2"


def test_four_networks_with_names_and_the_same_one_twice(host, attach, setup):
    setup.ptp()
    setup.bridge("blue", "10.40.0.0/24")
    one = attach(setup.config(networks="wire@data0, blue,direct ,default/blue@again"))
    one.add()
    assert one.container.links() == ["again", "data0", "eth0", "net2", "net3"]
    shown = multi.status(one)
    assert [(s["name"], s["interface"]) for s in shown] == [
        ("kube-system/cluster", "eth0"), ("default/wire", "data0"), ("default/blue", "net2"), ("default/direct", "net3"),
        ("default/blue", "again")]
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_the_status_is_the_standards(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    cluster, wire = multi.status(one)
    assert cluster["default"] is True and wire["default"] is False
    assert cluster["ips"] == one.addresses and wire["ips"] == addresses(one.container, "net1")
    assert cluster["default-route"] == ["10.20.0.1", "fd20::1"] and "default-route" not in wire
    link = json.loads(one.container.ip("-j", "link", "show", "net1"))[0]
    assert wire["mac"] == link["address"] and wire["mtu"] == link["mtu"] and wire["dns"] == {}


def test_delegates_instead_of_a_cluster_network(host, attach, setup):
    cluster = json.loads((setup.folder / "cluster.conflist").read_text())
    config = setup.config(delegates=[cluster, configs.macvlan(setup.data, name="wire")])
    one = attach(multi.without(config, "clusterNetwork"))
    one.add()
    assert one.container.links() == ["eth0", "net1"]
    assert [s["name"] for s in multi.status(one)] == ["cluster", "wire"]
    one.check().expect_ok()
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_a_cluster_network_by_path(host, attach, setup):
    for path in (f"{setup.folder}/cluster.conflist", str(setup.folder)):
        one = attach(setup.config(clusterNetwork=path))
        one.add()
        assert addresses(one.container, "eth0")[0].startswith("10.20.0.")
        one.delete().expect_ok()


# --- pods and definitions in the folder -----------------------------------------------------------

def test_a_pods_annotation_chooses_its_networks(host, attach, setup):
    setup.write("pods.yaml", "\n---\n".join(json.dumps(multi.pod(name, networks=networks)) for name, networks in
                                           (("web", "wire"), ("db", ""))))
    web, db, other = (attach(setup.config(networks="wire@extra"), args=multi.pod_args(name)) for name in ("web", "db", "x"))
    for attachment, links in ((web, ["eth0", "net1"]), (db, ["eth0"]), (other, ["eth0", "extra"])):
        attachment.add()
        assert attachment.container.links() == links
    for attachment in (web, db, other):
        attachment.delete().expect_ok()
    assert left(host, setup, web.container) == []


YAML_DEFINITION = """
apiVersion: "k8s.cni.cncf.io/v1"
kind: NetworkAttachmentDefinition
metadata:
  name: fixed
  namespace: lab
spec:
  config: '{
      "cniVersion": "1.0.0",
      "type": "macvlan", "master": "uplink",
      "capabilities": {"ips": true, "mac": true},
      "ipam": {"type": "static"}
    }'
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: lab
  annotations:
    k8s.v1.cni.cncf.io/networks: |
      [{"name": "fixed", "interface": "lan0", "ips": ["198.18.0.77/24"], "mac": "02:00:00:00:00:77",
        "cni-args": {"foo": "bar"}}]
"""


def test_yaml_manifests_with_address_and_mac(host, outside, attach, setup):
    setup.write("lab.yaml", YAML_DEFINITION)
    web = attach(setup.config(), args=multi.pod_args("web", "lab"))
    web.add()
    assert addresses(web.container, "lan0") == ["198.18.0.77"]
    assert "02:00:00:00:00:77" in web.container.ip("link", "show", "lan0")
    assert traffic.ping(web.container, "198.18.0.2")
    record = json.loads(open(multi.records()[0]).read())
    assert record["networks"][1]["plugins"][0]["args"] == {"cni": {"foo": "bar"}}
    assert record["networks"][1]["network"] == "fixed"  # spec.config has no name of its own
    web.check().expect_ok()
    web.delete().expect_ok()
    assert left(host, setup, web.container) == []


def test_a_definition_without_config_means_the_conflist_of_its_name(host, attach, setup):
    setup.write("wire.json", multi.definition("wire", ns="lab"))
    one = attach(setup.config(networks="lab/wire"))
    one.add()
    assert one.container.links() == ["eth0", "net1"]


def test_the_pod_may_choose_the_cluster_network(host, attach, setup):
    setup.bridge("green", "10.60.0.0/24")
    setup.write("pod.json", multi.pod("web", default="green", networks="wire"))
    web = attach(setup.config(), args=multi.pod_args("web"))
    web.add()
    assert addresses(web.container, "eth0")[0].startswith("10.60.0.")
    assert multi.status(web)[0]["name"] == "kube-system/green"


def test_default_networks_come_to_all_but_system_pods(host, attach, setup):
    setup.write("pods.yaml", "---\n".join(json.dumps(multi.pod("web", ns=ns)) + "\n" for ns in ("lab", "kube-system")))
    user, system = (attach(setup.config(defaultNetworks=["wire"]), args=multi.pod_args("web", ns))
                    for ns in ("lab", "kube-system"))
    for attachment, links in ((user, ["eth0", "net1"]), (system, ["eth0"])):
        attachment.add()
        assert attachment.container.links() == links


@pytest.mark.parametrize("keys, ns, allowed", [
    ({}, "other", True), ({"namespaceIsolation": True}, "other", False), ({"namespaceIsolation": True}, "default", True),
    ({"namespaceIsolation": True}, "lab", True),
    ({"namespaceIsolation": True, "globalNamespaces": "other, more"}, "other", True),
    ({"namespaceIsolation": True, "globalNamespaces": "other"}, "default", False)])
def test_namespace_isolation(keys, ns, allowed, host, attach, setup):
    wire = json.loads((setup.folder / "wire.conflist").read_text())
    setup.write("definition.json", multi.definition("wire", wire, ns))
    setup.write("pod.json", multi.pod("web", ns="lab", networks=f"{ns}/wire"))
    outcome = attach(setup.config(**keys), args=multi.pod_args("web", "lab")).try_add()
    if allowed:
        outcome.expect_ok()
    else:
        outcome.expect_error(7, "namespaceIsolation", ns)
        assert left(host, setup) == []


# --- default routes -------------------------------------------------------------------------------

@pytest.fixture
def rivals(setup):
    """Two more networks that would like to have the default route."""
    setup.bridge("blue", "10.40.0.0/24", routes=("0.0.0.0/0",))
    setup.bridge("red", "10.50.0.0/24", routes=("0.0.0.0/0",))
    return setup


def test_the_cluster_network_keeps_the_default_route(host, attach, rivals):
    one = attach(rivals.config(networks="blue,red"))
    one.add()
    assert default_routes(one.container) == [("10.20.0.1", "eth0")]
    assert default_routes(one.container, "-6") == [("fd20::1", "eth0")]
    one.check().expect_ok()


@pytest.mark.parametrize("gateways, v4, v6", [
    (["10.40.0.1"], [("10.40.0.1", "net1")], [("fd20::1", "eth0")]),
    ([], [("10.40.0.1", "net1")], [("fd20::1", "eth0")]),
    (["10.40.0.200", "10.40.0.201"], [("10.40.0.200", "net1"), ("10.40.0.201", "net1")], [("fd20::1", "eth0")])])
def test_a_selection_takes_the_default_route(gateways, v4, v6, host, attach, rivals):
    one = attach(rivals.config(networks=[{"name": "blue", "default-route": gateways}, {"name": "red"}]))
    one.add()
    assert default_routes(one.container) == v4 and default_routes(one.container, "-6") == v6
    assert [r["dst"] for r in one.result["routes"]] == ["::/0"]  # the result tells what is so
    assert multi.status(one)[1]["default-route"] == (gateways or ["10.40.0.1"])
    one.check().expect_ok()
    one.container.ip("route", "flush", "exact", "default")
    one.check().expect_error(100)
    one.delete().expect_ok()
    assert left(host, rivals, one.container) == []


def test_without_one_in_the_cluster_network_the_first_selected_has_it(host, attach, rivals):
    rivals.network(configs.bridge(rivals.data, name="cluster", subnets=("10.20.0.0/24",), routes=()))
    one = attach(rivals.config(networks="red,blue"))
    one.add()
    assert default_routes(one.container) == [("10.50.0.1", "net1")]


def test_a_foreign_networks_default_route_is_taken_away_too(host, attach, rivals):
    theirs = Plugins(REFERENCE_DIR, OURS_DIR)
    rivals.keys["cniVersion"] = "1.0.0"
    for name in ("cluster", "blue"):
        path = rivals.folder / f"{name}.conflist"
        path.write_text(path.read_text().replace("1.1.0", "1.0.0"))
    one = attach(rivals.config(networks=[{"name": "blue", "default-route": ["10.40.0.1"]}]), plugins=theirs)
    one.add()
    assert default_routes(one.container) == [("10.40.0.1", "net1")]
    one.check().expect_ok()
    one.delete().expect_ok()
    assert left(host, rivals, one.container) == []


# --- what the runtime passes ----------------------------------------------------------------------

def plugins_of(which):
    record = json.loads(open(multi.records()[0]).read())
    return record["networks"][which]["plugins"]


def test_the_runtimes_wishes_are_the_cluster_networks_alone(host, attach, setup):
    """Standard 1.3, section 7.5."""
    config = setup.config(networks="wire", runtimeConfig={"mac": "02:00:00:00:00:01"})
    path = setup.folder / "cluster.conflist"
    cluster = json.loads(path.read_text())
    cluster["plugins"][0]["capabilities"] = {"mac": True}
    path.write_text(json.dumps(cluster))
    one = attach(config, args="IgnoreUnknown=1;IP=10.20.0.99")
    one.add()
    assert "02:00:00:00:00:01" in one.container.ip("link", "show", "eth0")
    assert "10.20.0.99" in addresses(one.container, "eth0")
    assert "runtimeConfig" not in plugins_of(1)[0]


def test_port_mappings_and_bandwidth_reach_who_declares_them(host, attach, setup):
    chain = json.loads((setup.folder / "wire.conflist").read_text())
    chain["plugins"].append({"type": "loopback", "capabilities": {"portMappings": True, "bandwidth": True}})
    setup.write("wire.conflist", chain)
    selection = {"name": "wire", "portMappings": [{"hostPort": 8080, "containerPort": 80}], "bandwidth": {"ingressRate": 10000000}}
    attach(setup.config(networks=[selection])).add()
    wire, last = plugins_of(1)
    assert "runtimeConfig" not in wire
    assert last["runtimeConfig"] == {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
                                     "bandwidth": {"ingressRate": 10000000, "ingressBurst": 1000000}}


def test_a_wish_nobody_can_grant_is_refused(host, attach, setup):
    one = attach(setup.config(networks=[{"name": "wire", "mac": "02:00:00:00:00:77"}]))
    one.try_add().expect_error(7, "networks[0]", "mac", "capability")
    assert left(host, setup, one.container) == []


def test_a_chain_of_plugins_hands_its_result_on(host, attach, setup):
    chain = json.loads((setup.folder / "wire.conflist").read_text())
    chain["plugins"].append({"type": "tuning", "mtu": 1300})
    setup.write("wire.conflist", chain)
    one = attach(setup.config(networks="wire"))
    one.add()
    assert json.loads(one.container.ip("-j", "link", "show", "net1"))[0]["mtu"] == 1300
    one.check().expect_ok()
    one.container.ip("link", "set", "net1", "mtu", "1200")
    one.check().expect_error(100, "network 'wire'", "tuning")
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_networks_that_share_routing_tables_come_one_after_the_other(host, attach, setup):
    """sbr takes the first free table: two at once would take the same."""
    for name, subnet in (("blue", "10.40.0.0/24"), ("red", "10.50.0.0/24"), ("green", "10.60.0.0/24")):
        setup.bridge(name, subnet, routes=("0.0.0.0/0",))
        chain = json.loads((setup.folder / f"{name}.conflist").read_text())
        chain["plugins"].append({"type": "sbr"})
        setup.write(f"{name}.conflist", chain)
    one = attach(setup.config(networks="blue,red,green"))
    one.add()
    tables = [r["table"] for r in json.loads(one.container.ip("-j", "rule")) if r["src"].startswith("10.")]
    assert len(tables) == 3 == len(set(tables))
    assert default_routes(one.container) == [("10.20.0.1", "eth0")]
    one.check().expect_ok()
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


@pytest.mark.parametrize("parallel", [True, False])
def test_eight_networks_at_once_or_one_by_one(parallel, host, attach, setup):
    names = [f"n{i}" for i in range(8)]
    for i, name in enumerate(names):
        setup.bridge(name, f"10.{40 + i}.0.0/24")
    one = attach(setup.config(networks=",".join(names), parallel=parallel))
    for _ in range(3):
        one.add()
        assert [s["ips"][0].rsplit(".", 1)[0] for s in multi.status(one)[1:]] == [f"10.{40 + i}.0" for i in range(8)]
        assert all(traffic.ping(one.container, f"10.{40 + i}.0.1") for i in range(8))
        one.check().expect_ok()
        one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_multi_in_a_chain_takes_and_gives_results(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    tuned = {"cniVersion": setup.version, "name": "many", "type": "tuning", "mtu": 1300, "prevResult": one.result}
    cni.execute(host, OURS, "tuning", "ADD", tuned, one.cid, one.netns, "eth0").expect_ok()
    one.check().expect_ok()


# --- failures -------------------------------------------------------------------------------------

BROKEN = {"cniVersion": "1.1.0", "name": "broken", "type": "macvlan", "master": "nowhere", "ipam": {"type": "static", "addresses": [
    {"address": "10.1.1.1/24"}]}}


@pytest.mark.parametrize("networks", ["broken", "wire,broken", "broken,wire", "wire,direct,broken,blue"])
def test_one_failure_takes_all_back(networks, host, attach, setup):
    setup.ptp()
    setup.bridge("blue", "10.40.0.0/24")
    setup.network(BROKEN)
    one = attach(setup.config(networks=networks))
    one.try_add().expect_error(None, "broken", "nowhere")
    assert left(host, setup, one.container) == []
    one.delete().expect_ok()


def test_a_failing_foreign_plugin_takes_all_back(host, attach, setup, tmp_path):
    seen = tmp_path / "seen"
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "vendor"
    script.write_text(f"#!/bin/sh\ncat >/dev/null\necho $CNI_COMMAND $CNI_IFNAME $CNI_ARGS >>{seen}\n"
                      '[ "$CNI_COMMAND" = ADD ] || exit 0\n'
                      'echo \'{"cniVersion":"1.1.0","code":42,"msg":"no more cables"}\'; exit 1\n')
    script.chmod(0o755)
    setup.network({"cniVersion": "1.1.0", "name": "cable", "type": "vendor"})
    one = attach(setup.config(networks="wire,cable", binDir=str(folder)), args="IgnoreUnknown=1;MAC=02:00:00:00:00:01;FOO=bar")
    one.try_add().expect_error(42, "no more cables", "cable")
    assert left(host, setup, one.container) == []
    assert seen.read_text().splitlines() == ["ADD net2 IgnoreUnknown=1;FOO=bar", "DEL net2 IgnoreUnknown=1;FOO=bar"]


def test_a_second_add_is_refused_and_harms_nothing(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    one.run("ADD").expect_error(5, "attached already")
    one.check().expect_ok()
    assert traffic.ping(one.container, "198.18.0.2")


def test_an_interface_that_is_there_already_is_refused_and_kept(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.container.ip("link", "add", "net1", "type", "veth", "peer", "name", "mine")
    one.try_add().expect_error(5, "net1")
    assert one.container.links() == ["mine", "net1"]
    assert multi.traces() == []


def test_a_missing_plugin_is_noticed_before_anything_is_done(host, attach, setup):
    setup.network({"cniVersion": "1.1.0", "name": "cable", "type": "vendor"})
    attach(setup.config(networks="cable")).try_add().expect_error(5, "vendor", "CNI_PATH")
    assert left(host, setup) == [] and host.links() == ["uplink"]


# --- DEL, CHECK, GC, STATUS -----------------------------------------------------------------------

def test_del_needs_neither_folder_nor_configuration_nor_namespace(host, attach, setup, spaces):
    one = attach(setup.config(networks="wire,direct"))
    setup.ptp()
    one.add()
    for name in os.listdir(setup.folder):
        os.remove(setup.folder / name)
    spaces.drop(one.container)
    broken = {"cniVersion": setup.version, "name": "many", "type": "multi", "networks": 7}
    one.run("DEL", broken).expect_ok()
    assert left(host, setup) == []


def test_del_without_its_record_removes_what_the_configuration_tells_of(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    for record in multi.records():
        os.remove(record)
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"networks": 1}'])
def test_a_damaged_record_stops_neither_del_nor_the_next_add(damage, host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    with open(multi.records()[0], "w") as f:
        f.write(damage)
    one.run("ADD").expect_error()
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []
    one.add()


def test_del_tries_all_networks_and_can_be_repeated_until_they_are_gone(host, attach, setup, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    vendor = folder / "vendor"
    vendor.write_text("#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = ADD ] || exit 3\necho '{\"cniVersion\":\"1.1.0\"}'\n")
    vendor.chmod(0o755)
    setup.network({"cniVersion": "1.1.0", "name": "cable", "type": "vendor"})
    one = attach(setup.config(networks="cable,wire", binDir=str(folder)))
    one.add()
    one.delete().expect_error(None, "cable", "status 3")
    assert one.container.links() == [] and setup.reserved() == {} and len(multi.records()) == 1
    vendor.write_text("#!/bin/sh\nexit 0\n")
    one.delete().expect_ok()
    assert left(host, setup, one.container) == []


def test_records_are_for_root_alone_and_the_status_for_all(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    assert [oct(os.stat(p).st_mode & 0o777) for p in multi.records()] == ["0o600"]
    assert oct(os.stat(multi.RECORDS).st_mode & 0o777) == "0o700"
    assert oct(os.stat(f"{multi.STATUS}/{one.cid}-eth0.json").st_mode & 0o777) == "0o644"


def test_what_an_earlier_boot_left_is_removed_by_the_next_add(host, attach, setup, spaces):
    """Addresses outlive a reboot; podman then starts the same container again."""
    one = attach(setup.config(networks="wire"))
    one.add()
    before = setup.reserved()
    path = multi.records()[0]
    record = json.loads(open(path).read())
    record["bootID"] = "another"
    with open(path, "w") as f:
        json.dump(record, f)
    spaces.drop(one.container)
    for link in [l for l in host.links() if l.startswith("veth")]:
        host.ip("link", "del", link, check=False)  # the kernel may have removed it meanwhile, with the namespace
    assert not [l for l in host.links() if l.startswith("veth")]
    again = attach(setup.config(networks="wire"), cid=one.cid)
    again.add()
    assert {k: len(v) for k, v in setup.reserved().items()} == {k: len(v) for k, v in before.items()}
    again.delete().expect_ok()
    assert left(host, setup, again.container) == []


def damage_link(one, name):
    one.container.ip("link", "del", name)


@pytest.mark.parametrize("name", ["eth0", "net1", "net2"])
def test_check_looks_at_every_network(name, host, attach, setup):
    setup.ptp()
    one = attach(setup.config(networks="wire,direct"))
    one.add()
    one.check().expect_ok()
    damage_link(one, name)
    one.check().expect_error()


def test_check_without_record_or_result_fails(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    one.run("CHECK").expect_error(7, "prevResult")
    os.remove(multi.records()[0])
    one.check().expect_error(100, "record")


def test_gc_removes_the_stale_and_keeps_the_valid(host, attach, setup, spaces):
    setup.ptp()
    stale, kept = (attach(setup.config(networks="wire,direct")) for _ in range(2))
    for attachment in (stale, kept):
        attachment.add()
    spaces.drop(stale.container)
    gc(host, setup.config(networks="wire,direct"), None).expect_ok()
    assert len(multi.records()) == 2
    gc(host, setup.config(networks="wire,direct"), [kept]).expect_ok()
    assert len(multi.records()) == 1 and {k: len(v) for k, v in setup.reserved().items()} == {"cluster": 2, "wire": 1, "direct": 1}
    kept.check().expect_ok()
    assert traffic.ping(kept.container, "198.18.0.2")
    gc(host, setup.config(networks="wire,direct"), []).expect_ok()
    assert left(host, setup) == []


def test_gc_works_with_the_folder_gone(host, attach, setup, spaces):
    stale = attach(setup.config(networks="wire"))
    stale.add()
    for name in os.listdir(setup.folder):
        os.remove(setup.folder / name)
    spaces.drop(stale.container)
    gc(host, setup.config(networks="wire"), []).expect_ok()
    assert left(host, setup) == []


def test_gc_collects_what_has_no_record_at_all(host, attach, setup, spaces):
    stale = attach(setup.config(networks="wire"))
    stale.add()
    os.remove(multi.records()[0])
    spaces.drop(stale.container)
    gc(host, setup.config(networks="wire"), []).expect_ok()
    assert setup.reserved() == {} and nft.ours(host) == []


def test_gc_leaves_other_multi_networks_alone(host, attach, setup):
    """Two conflists, one network of both: what the other one has attached stays."""
    other = attach(setup.config(name="others", networks="wire"))
    other.add()
    gc(host, setup.config(networks="wire"), []).expect_ok()
    other.check().expect_ok()


def test_gc_stops_before_an_unreadable_record(host, attach, setup):
    one = attach(setup.config(networks="wire"))
    one.add()
    with open(f"{multi.RECORDS}/damaged.json", "w") as f:
        f.write("{")
    gc(host, setup.config(networks="wire"), []).expect_error(6, "damaged.json")
    one.check().expect_ok()


def test_status_is_that_of_the_networks(host, setup):
    status(host, setup.config(networks="wire")).expect_ok()
    host.ip("link", "del", "uplink")
    status(host, setup.config(networks="wire")).expect_error(50)
    status(host, setup.config()).expect_ok()
    status(host, setup.config(clusterNetwork="nobody")).expect_error(50, "nobody")


def test_the_readiness_indicator(host, attach, setup, tmp_path):
    indicator = tmp_path / "ready"
    config = setup.config(readinessindicatorfile=str(indicator))
    status(host, config).expect_error(50, str(indicator))
    attach(config).try_add().expect_error(11, str(indicator))
    indicator.touch()
    status(host, config).expect_ok()
    attach(config).add()


# --- other vendors' plugins -----------------------------------------------------------------------

def test_the_references_plugins_are_executed(host, outside, attach, tmp_path):
    setup = multi.Setup(tmp_path, "1.0.0")
    setup.cluster()
    setup.macvlan()
    setup.ptp()
    plugins = Plugins(REFERENCE_DIR, OURS_DIR)
    one = attach(setup.config(networks="wire,direct"), plugins=plugins)
    one.add()
    assert one.container.links() == ["eth0", "net1", "net2"]
    assert traffic.ping(one.container, "198.18.0.2")
    one.check().expect_ok()
    one.delete().expect_ok()
    assert [l for l in host.links() if l.startswith("veth")] == [] and one.container.links() == []
    assert setup.reserved() == {} and multi.traces() == []


def test_a_mixed_chain_of_ours_and_theirs(host, attach, tmp_path):
    """Ours before theirs in CNI_PATH; portmap is theirs until we have one."""
    setup = multi.Setup(tmp_path, "1.0.0")
    setup.cluster()
    setup.bridge("blue", "10.40.0.0/24")
    chain = json.loads((setup.folder / "blue.conflist").read_text())
    chain["plugins"].append({"type": "firewall", "backend": "iptables"})
    setup.write("blue.conflist", chain)
    one = attach(setup.config(networks="blue"), plugins=Plugins(OURS_DIR, REFERENCE_DIR))
    one.add()
    one.check().expect_ok()
    one.delete().expect_ok()
    assert one.container.links() == [] and setup.reserved() == {}
