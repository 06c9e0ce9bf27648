"""The CNI specification: every version, every verb, every plugin, and what the protocol promises."""
import json
import os
import time

import pytest

from lib import cni, configs, netns, nft, snapshot, traffic
from lib.cni import OURS, VERSIONS, Attachment, at_least, execute

pytestmark = pytest.mark.netns

PLUGINS = ["bridge", "ptp", "loopback", "host-local", "static"]
VERBS = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]
NEEDS = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def configuration(plugin, version, data_dir):
    make = {"bridge": configs.bridge, "ptp": configs.ptp, "host-local": configs.ipam_only}
    if plugin in make:
        return make[plugin](data_dir, version)
    return configs.loopback(version) if plugin == "loopback" else configs.static_only(version)


def attach(plugin, version, host, container, tmp_path):
    return Attachment(host, configuration(plugin, version, tmp_path), container,
                      ifname="lo" if plugin == "loopback" else "eth0")


# --- every version x every verb x every plugin ---------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_version_and_verb(plugin, version, verb, host, container, tmp_path):
    attachment = attach(plugin, version, host, container, tmp_path)
    if verb in NEEDS and not at_least(version, NEEDS[verb]):
        outcome = attachment.run(verb)
        outcome.expect_error(1, verb, "version")
        return
    if verb == "VERSION":
        assert_version_object(attachment.run(verb).expect_ok().json)
    elif verb in ("GC", "STATUS"):
        config = {**attachment.config, "cni.dev/valid-attachments": []} if verb == "GC" else attachment.config
        outcome = execute(host, OURS, plugin, verb, config).expect_ok()
        assert outcome.stdout == b""
    else:
        result = attachment.add()
        assert_result_shape(plugin, version, result, container)
        if verb == "CHECK":
            assert attachment.check().expect_ok().stdout == b""
        if verb == "DEL":
            assert attachment.delete().expect_ok().stdout == b""
            assert container.links() == []


def assert_version_object(answer):
    assert answer["supportedVersions"] == VERSIONS
    assert answer["cniVersion"] in VERSIONS


def assert_result_shape(plugin, version, result, container):
    assert result["cniVersion"] == version
    if not at_least(version, "0.3.0"):
        assert set(result) <= {"cniVersion", "ip4", "ip6", "dns"}
        assert "/" in result["ip4"]["ip"]
        for route in result["ip4"].get("routes", []):
            assert set(route) <= {"dst", "gw"}
        return
    assert set(result) <= {"cniVersion", "interfaces", "ips", "routes", "dns"}
    for ip in result["ips"]:
        if at_least(version, "1.0.0"):
            assert "version" not in ip
        else:
            assert ip["version"] == ("6" if ":" in ip["address"] else "4")
    if plugin in ("host-local", "static"):
        assert "interfaces" not in result
        assert all("interface" not in ip for ip in result["ips"])
        return
    allowed = {"name", "mac", "sandbox"} | ({"mtu", "socketPath", "pciID"} if at_least(version, "1.1.0") else set())
    for interface in result["interfaces"]:
        assert set(interface) <= allowed
        assert interface["sandbox"] == container.path if "sandbox" in interface else interface["name"] not in ("eth0", "lo")
    for ip in result["ips"]:
        assert result["interfaces"][ip["interface"]].get("sandbox") == container.path


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_an_unknown_version_is_refused_by_name(plugin, verb, host, container, tmp_path):
    attachment = attach(plugin, "9.9.9", host, container, tmp_path)
    attachment.run(verb).expect_error(1, "9.9.9", cni.LATEST)
    assert host.links() == []


@pytest.mark.parametrize("version", ["0.3.2", "1.0", "1.2.0", "v1.0.0", "1.0.0 ", "-1.0.0", "1.0.0.0", "999999999999.0.0"])
def test_only_released_versions_match(version, host, container, tmp_path):
    attachment = attach("host-local", version, host, container, tmp_path)
    attachment.run("ADD").expect_error((1, 6), version.strip())


def test_a_config_without_version_is_0_1_0(host, container, tmp_path):
    config = configs.bridge(tmp_path)
    del config["cniVersion"]
    result = Attachment(host, config, container).add()
    assert result["cniVersion"] == "0.1.0" and result["ip4"]["ip"] == "10.20.0.2/24"


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_a_bridge_without_addresses_cannot_be_told_in_old_versions(version, host, container):
    attachment = Attachment(host, configs.l2_bridge(version), container)
    attachment.run("ADD").expect_error(None, "cannot convert: no valid IP addresses")
    assert container.links() == []
    assert [l for l in host.links() if l != "cni0"] == []


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_more_than_one_address_of_a_family_needs_0_3_0(version, host, container, tmp_path):
    config = configs.bridge(tmp_path, version, subnets=("10.1.0.0/24", "10.2.0.0/24"))
    attachment = Attachment(host, config, container)
    attachment.run("ADD").expect_error(None, "more than 1")
    assert host.links() in ([], ["cni0"])


def test_one_address_of_each_family_fits_0_2_0(host, container, tmp_path):
    config = configs.bridge(tmp_path, "0.2.0", subnets=("10.1.0.0/24", "fd01::/64"), routes=("0.0.0.0/0", "::/0"))
    result = Attachment(host, config, container).add()
    assert result["ip4"] == {"ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}
    assert result["ip6"] == {"ip": "fd01::2/64", "gateway": "fd01::1", "routes": [{"dst": "::/0"}]}


# --- what 1.1.0 added ---------------------------------------------------------------------------

@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_interface_mtu_is_reported_as_the_kernel_has_it(plugin, host, container, tmp_path):
    config = {**configuration(plugin, "1.1.0", tmp_path), "mtu": 1400}
    result = Attachment(host, config, container).add()
    kernel = {l["ifname"]: l["mtu"] for ns in (host, container) for l in snapshot.links(ns)}
    assert {i["name"]: i.get("mtu") for i in result["interfaces"]} == {i["name"]: kernel[i["name"]] for i in result["interfaces"]}
    assert kernel["eth0"] == 1400


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_every_route_field_of_1_1_reaches_the_kernel_and_the_result(plugin, host, container, tmp_path):
    routes = [{"dst": "0.0.0.0/0", "mtu": 1300, "advmss": 1200, "priority": 50},
              {"dst": "172.20.0.0/16", "table": 200, "priority": 7},
              {"dst": "172.21.0.0/16", "scope": 253}]
    config = configuration(plugin, "1.1.0", tmp_path)
    gateway = "10.60.0.1"
    config["ipam"] = {"type": "static", "addresses": [{"address": "10.60.0.9/24", "gateway": gateway}],
                      "routes": [{**r, **({} if "scope" in r else {"gw": gateway})} for r in routes]}
    attachment = Attachment(host, config, container)
    result = attachment.add()
    for wanted in config["ipam"]["routes"]:
        assert wanted in result["routes"]
    default = container.ip("-4", "-d", "route", "show", "default")
    assert "mtu 1300" in default and "advmss 1200" in default and "metric 50" in default
    assert "metric 7" in container.ip("-4", "route", "show", "table", "200")
    assert "scope link" in container.ip("-4", "route", "show", "172.21.0.0/16")
    attachment.check().expect_ok()


def test_a_missing_route_with_a_table_fails_check(host, container, tmp_path):
    config = configs.bridge(tmp_path)
    config["ipam"]["routes"] = [{"dst": "172.20.0.0/16", "table": 200}]
    attachment = Attachment(host, config, container)
    attachment.add()
    container.ip("route", "flush", "table", "200")
    attachment.check().expect_error(None, "172.20.0.0/16")


# --- environment --------------------------------------------------------------------------------

@pytest.mark.parametrize("plugin", PLUGINS)
def test_without_a_command_it_introduces_itself(plugin, host):
    done = execute(host, OURS, plugin, None, "", extra={"CNI_PATH": None})
    assert done.rc == 0 and done.stdout == b""
    assert plugin in done.stderr and "0.1.0" in done.stderr
    if not cni.IS_REFERENCE:
        assert "1.1.0" in done.stderr


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("verb,missing", [
    ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME"])])
def test_all_missing_variables_are_named_together(plugin, verb, missing, host, tmp_path):
    outcome = execute(host, OURS, plugin, verb, configuration(plugin, "1.0.0", tmp_path))
    outcome.expect_error(4, *missing)
    if verb == "DEL":
        assert "CNI_NETNS" not in outcome.words


def test_an_unknown_command_is_refused(host):
    execute(host, OURS, "bridge", "FROB", configs.l2_bridge("1.0.0")).expect_error(4, "FROB")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_version_does_not_wait_for_stdin(plugin, host):
    process = cni.start(host, OURS.find(plugin), cni.environment("VERSION", OURS))
    try:
        process.wait(timeout=5)  # stdin is still open and empty
        assert_version_object(json.loads(process.stdout.read()))
    finally:
        process.kill()
        process.communicate()


def test_errors_carry_the_version_of_the_config(host, container, tmp_path):
    config = configs.bridge(tmp_path, "1.0.0", bridge="lo")
    outcome = Attachment(host, config, container).run("ADD").expect_error()
    assert outcome.json["cniVersion"] == "1.0.0"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_hosts_own_namespace_is_refused_before_any_work(plugin, host, tmp_path):
    before = snapshot.settled(host)
    attachment = Attachment(host, configuration(plugin, "1.0.0", tmp_path), netns=host.path)
    for verb in ("ADD", "DEL"):
        attachment.run(verb).expect_error(8)
    assert snapshot.difference(before, snapshot.settled(host)) == []
    assert snapshot.files(tmp_path) == {}


def test_cni_args_follow_the_convention(host, spaces, tmp_path):
    def add(args):
        return Attachment(host, configs.bridge(tmp_path), spaces.new("c"), args=args).try_add()
    kubernetes = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc"
    add(kubernetes).expect_ok()
    assert add("IgnoreUnknown=true;IP=10.20.0.77").expect_ok().json["ips"][0]["address"] == "10.20.0.77/24"
    add("K8S_POD_NAME=web-0").expect_error(None, "K8S_POD_NAME")
    add("IgnoreUnknown=1;IP").expect_error(None, "IP")
    add("IgnoreUnknown=1;IP=10.20.0.78=9").expect_error(None, "IP")


# --- configuration ------------------------------------------------------------------------------

def test_keys_match_without_regard_to_case_and_null_is_unset(host, container, tmp_path):
    config = configs.bridge(tmp_path, routes=(), hairpinMode=None, vlanTrunk=None, vlan=None)
    del config["isGateway"]
    config.update({"isdefaultgateway": True, "MTU": 1400, "someoneElse'sKey": {"deep": [1]}, "capabilities": {"mac": True}})
    Attachment(host, config, container).add()
    assert "via 10.20.0.1" in container.ip("route", "show", "default")
    assert {l["ifname"]: l["mtu"] for l in snapshot.links(container)}["eth0"] == 1400


@pytest.mark.parametrize("text", ['"mtu": 1300, "mtu": 1350', '"MTU": 1300, "mtu": 1350', '"mtu": null, "Mtu": 1350',
                                  '"Mtu": 1350, "mtu": null'])
def test_the_last_of_duplicate_keys_wins(text, host, container, tmp_path):
    """As Go's decoder has it: in any spelling, and a null changes nothing."""
    config = json.dumps(configs.bridge(tmp_path))[:-1] + f", {text}}}"
    execute(host, OURS, "bridge", "ADD", config, "c1", container.path, "eth0").expect_ok()
    assert {l["ifname"]: l["mtu"] for l in snapshot.links(container)}["eth0"] == 1350


def test_the_exact_spelling_wins_over_a_later_other_one(host, container, tmp_path):
    """Deliberately unlike Go's decoder, in which whatever comes last wins: what is spelled as documented counts."""
    config = json.dumps(configs.bridge(tmp_path))[:-1] + ', "mtu": 1350, "MTU": 1300}'
    execute(host, OURS, "bridge", "ADD", config, "c1", container.path, "eth0").expect_ok()
    assert {l["ifname"]: l["mtu"] for l in snapshot.links(container)}["eth0"] == 1350


def test_everything_wrong_is_reported_at_once_with_path_and_value(host, container, tmp_path):
    config = configs.bridge(tmp_path, mtu="big", vlan=5000, hairpinMode="yes", vlanTrunk=[{"id": 4095}])
    outcome = Attachment(host, config, container).run("ADD").expect_error((6, 7))
    for needle in ("mtu", "big", "vlan", "5000", "hairpinMode", "yes", "4095"):
        assert needle in outcome.words
    assert host.links() == []


@pytest.mark.parametrize("keys,needle", [
    (dict(hairpinMode=True, promiscMode=True), "promisc"),
    (dict(vlan=-100), "-100"), (dict(vlan=5000), "5000"),
    (dict(vlanTrunk=[{"minID": 5}]), "maxID"), (dict(vlanTrunk=[{"maxID": 5}]), "minID"),
    (dict(vlanTrunk=[{"minID": 9, "maxID": 5}]), "minID"), (dict(vlanTrunk=[{"id": -1}]), "-1"),
    (dict(disableContainerInterface=True), "disableContainerInterface"),
    (dict(bridge="a-name-that-is-too-long"), "a-name-that-is-too-long"),
    (dict(ipMasqBackend="ipfw", ipMasq=True), "ipfw")])
def test_bad_bridge_settings_are_refused_before_anything_changes(keys, needle, host, container, tmp_path):
    Attachment(host, configs.bridge(tmp_path, **keys), container).run("ADD").expect_error(7, needle)
    assert host.links() == [] and container.links() == []
    assert snapshot.files(tmp_path) == {}


def test_prev_result_of_another_version_is_refused(host, container, tmp_path):
    attachment = Attachment(host, configs.bridge(tmp_path, "0.4.0"), container)
    attachment.add()
    old = {"cniVersion": "0.2.0", "ip4": {"ip": "10.20.0.2/24"}}
    attachment.run("CHECK", {**attachment.config, "prevResult": old}).expect_error((1, 6, 7), "0.2.0")


@pytest.mark.parametrize("plugin", ["bridge", "ptp", "loopback"])
def test_check_without_prev_result_is_an_error(plugin, host, container, tmp_path):
    attachment = attach(plugin, "1.0.0", host, container, tmp_path)
    attachment.add()
    attachment.run("CHECK").expect_error(None, "prevResult")


def test_loopback_passes_a_prev_result_through(host, container):
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": container.path}],
                "ips": [{"address": "10.9.9.9/24", "interface": 0}]}
    config = {**configs.loopback("1.0.0"), "prevResult": previous}
    outcome = execute(host, OURS, "loopback", "ADD", config, "c1", container.path, "lo").expect_ok()
    result = outcome.json
    assert result["interfaces"] == previous["interfaces"] and result["ips"] == previous["ips"]


def test_loopback_goes_up_and_down(host, container):
    container.ip("link", "set", "lo", "down")
    attachment = Attachment(host, configs.loopback(), container, ifname="lo")
    result = attachment.add()
    assert [i["name"] for i in result["interfaces"]] == ["lo"]
    assert {ip["address"] for ip in result["ips"]} >= {"127.0.0.1/8"}
    assert traffic.ping(container, "127.0.0.1")
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    assert "UP" not in snapshot.links(container)[0]["flags"]


# --- delegation to a foreign IPAM plugin --------------------------------------------------------

FOREIGN_IPAM = """#!/bin/sh
env | sort > {log}/env.$CNI_COMMAND
cat > {log}/stdin.$CNI_COMMAND
[ -z "$CNI_NETNS" ] || nsenter --net="$CNI_NETNS" ip -o link > {log}/links.$CNI_COMMAND
echo to-stderr >&2
[ -e {log}/fail.$CNI_COMMAND ] && {{ printf '{{"cniVersion":"{version}","code":11,"msg":"pool is busy","details":"really"}}'; exit 1; }}
[ "$CNI_COMMAND" = ADD ] && printf '{{"cniVersion":"{version}","ips":[{{"address":"10.70.0.5/24","gateway":"10.70.0.1"}}],"routes":[{{"dst":"0.0.0.0/0"}}]}}'
exit 0
"""


@pytest.fixture
def foreign(tmp_path, host, container):
    """An attachment whose IPAM is a program that is not ours, and the folder of its log."""
    log, folder = tmp_path / "log", tmp_path / "bin"
    log.mkdir(), folder.mkdir()
    program = folder / "their-ipam"
    program.write_text(FOREIGN_IPAM.format(log=log, version=cni.LATEST))
    program.chmod(0o755)
    config = {**configs.bridge(tmp_path), "x-private": {"kept": True}, "ipam": {"type": "their-ipam", "own": [1, 2]}}
    plugins = cni.Plugins(*OURS.folders, str(folder))
    return Attachment(host, config, container, plugins=plugins), log


def test_a_foreign_ipam_gets_the_whole_config_and_environment(foreign):
    attachment, log = foreign
    trace = {"TRACEPARENT": "00-abc-def-01"}
    attachment.add(extra=trace)
    attachment.check().expect_ok()
    outcome = attachment.run("DEL", extra=trace).expect_ok()
    assert "to-stderr" in outcome.stderr
    for verb in ("ADD", "CHECK", "DEL"):
        sent = json.loads((log / f"stdin.{verb}").read_text())
        assert sent["ipam"] == {"type": "their-ipam", "own": [1, 2]} and sent["x-private"] == {"kept": True}
        env = (log / f"env.{verb}").read_text()
        assert f"CNI_COMMAND={verb}" in env and f"CNI_CONTAINERID={attachment.cid}" in env
    assert "TRACEPARENT=00-abc-def-01" in (log / "env.ADD").read_text()


def test_a_foreign_ipam_finds_the_link_present_in_add_and_del(foreign):
    """It may be a DHCP client, which speaks through the link; host-local and static need none."""
    attachment, log = foreign
    attachment.add()
    attachment.delete().expect_ok()
    for verb in ("ADD", "DEL"):
        assert "eth0@" in (log / f"links.{verb}").read_text(), verb


def test_a_foreign_ipam_is_forwarded_gc_and_status(foreign, host):
    attachment, log = foreign
    cni.gc(host, attachment.config, [attachment], attachment.plugins).expect_ok()
    sent = json.loads((log / "stdin.GC").read_text())
    assert sent["cni.dev/valid-attachments"] == [{"containerID": attachment.cid, "ifname": "eth0"}]
    (log / "fail.STATUS").touch()
    cni.status(host, attachment.config, attachment.plugins).expect_error(11, "pool is busy")


def test_a_foreign_ipams_error_is_passed_on_and_nothing_stays(foreign, host, container):
    attachment, log = foreign
    (log / "fail.ADD").touch()
    attachment.run("ADD").expect_error(11, "pool is busy")
    assert container.links() == [] and [l for l in host.links() if l != "cni0"] == []


def test_a_failure_after_ipam_add_releases_the_address(foreign, host, container):
    attachment, log = foreign
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    attachment.run("ADD").expect_error(None, "eth0")
    assert (log / "stdin.ADD").exists() == (log / "stdin.DEL").exists()
    assert container.links() == ["eth0", "other"]


@pytest.mark.parametrize("name", ["../bin/their-ipam", "/bin/true", "no-such-plugin"])
def test_an_ipam_is_looked_up_by_name_only(name, host, container, tmp_path):
    config = {**configs.bridge(tmp_path), "ipam": {"type": name}}
    Attachment(host, config, container).run("ADD").expect_error(None, name.split("/")[-1])
    assert host.links() in ([], ["cni0"])


# --- the textbook -------------------------------------------------------------------------------

def test_the_textbook_configuration_works_unchanged(host, outside, spaces):
    """cniVersion 0.2.0, cni0, isGateway, ipMasq, 10.22.0.0/16, default route; dataDir left to its default."""
    first, second = (Attachment(host, configs.textbook(), spaces.new("c")) for _ in range(2))
    result = first.add()
    assert result["ip4"] == {"ip": "10.22.0.2/16", "gateway": "10.22.0.1", "routes": [{"dst": "0.0.0.0/0"}]}
    assert second.add()["ip4"]["ip"] == "10.22.0.3/16"
    assert traffic.ping(first.container, "10.22.0.1")
    assert traffic.ping(first.container, "10.22.0.3")
    assert traffic.ping(first.container, "198.18.0.2")
    assert traffic.reach(first.container, outside, "198.18.0.2") == "198.18.0.1"
    assert traffic.reach(second.container, first.container, "10.22.0.2") == "10.22.0.3"  # not masqueraded inside
    assert os.path.exists("/var/lib/cni/networks/mynet/10.22.0.2")
    for attachment in (first, second):
        attachment.delete().expect_ok()
    assert host.links() == ["cni0", "uplink"]
    assert not os.path.exists("/var/lib/cni/networks/mynet/10.22.0.2")
    if not cni.IS_REFERENCE:
        assert nft.tables(host) == []


def seconds_to_the_first_answer(host, outside, container, config):
    """ADD, and one connection over IPv6 to beyond the gateway."""
    began = time.monotonic()
    Attachment(host, config, container).add()
    assert traffic.reach(container, outside, "fd18::2") == "fd18::1"
    return time.monotonic() - began


def dual_stack(tmp_path):
    return configs.bridge(tmp_path, "1.0.0", subnets=("fd20::/64", "10.20.0.0/24"), routes=("::/0", "0.0.0.0/0"), ipMasq=True)


def test_ipv6_works_at_once(host, outside, spaces, container, tmp_path):
    """No wait for duplicate address detection: not in ADD, and not before the first packet."""
    Attachment(host, dual_stack(tmp_path), spaces.new("neighbour")).add()
    traffic.reach(host, outside, "fd18::2")
    assert seconds_to_the_first_answer(host, outside, container, dual_stack(tmp_path)) < 0.5
    assert "tentative" not in container.ip("-6", "address", "show", "dev", "eth0", "scope", "global")


def test_ipv6_works_at_once_on_a_new_bridge_too(spaces, tmp_path):
    """The kernel takes note of the bridge's first carrier, and of its addresses, in the background: ADD waits for it."""
    for i in range(5):
        host, outside = spaces.new("host"), spaces.new("out")
        netns.join(host, outside, "uplink", "eth0", ["198.18.0.1/24", "fd18::1/64"], ["198.18.0.2/24", "fd18::2/64"])
        traffic.reach(host, outside, "fd18::2")  # what the kernel does with this link in the background is done
        assert seconds_to_the_first_answer(host, outside, spaces.new("c"), dual_stack(tmp_path / str(i))) < 0.5


def test_no_process_is_executed(host, container, tmp_path):
    """strace sees one execve, that of the plugin itself, on every verb."""
    log = tmp_path / "trace"
    attachment = Attachment(host, configs.bridge(tmp_path, ipMasq=True, macspoofchk=True), container)
    for verb in ("ADD", "CHECK", "STATUS", "GC", "DEL"):
        config = attachment.with_result() if attachment.result else attachment.config
        if verb == "GC":
            config = {**config, "cni.dev/valid-attachments": [{"containerID": attachment.cid, "ifname": "eth0"}]}
        outcome = attachment.run(verb, config, wrapper=("strace", "-f", "-e", "trace=execve,execveat", "-o", str(log)))
        outcome.expect_ok()
        attachment.result = outcome.json if verb == "ADD" else attachment.result
        executed = [line for line in log.read_text().splitlines() if "execve" in line]
        assert len(executed) == 1, "\n".join(executed)
