"""dhcp against real servers (dnsmasq, kea), against one that misbehaves, and with a daemon that dies."""
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import time

import pytest

from lib import cni, dhcp, netns
from lib.cni import Attachment, gc, status
from lib.dhcp import (ACK, DISCOVER, DNS, DNS6, MTU, NAK, OFFER, RELEASE, REQUEST, ROUTER, SOCKET, STATE, SUBNET, Daemon,
                      Dnsmasq, Kea, ask_daemon, defaults, eventually, fake, granting, reply)

pytestmark = pytest.mark.netns

CODE_CONFIG, CODE_TRY_AGAIN, CODE_STATUS, CODE_CHECK = 7, 11, 50, 100


def config(name="lan", **ipam):
    return {"cniVersion": cni.LATEST, "name": name, "type": "bridge", "bridge": "lan0", "ipam": {"type": "dhcp", **ipam}}


def records():
    return sorted(n for n in os.listdir(STATE) if n != "lock") if os.path.isdir(STATE) else []


def addresses(space, family=4):
    found = json.loads(space.ip("-j", f"-{family}", "address", "show", "dev", "eth0"))
    return [f"{a['local']}/{a['prefixlen']}" for link in found for a in link["addr_info"] if a["scope"] == "global"]


def is_up(space):
    return "UP" in json.loads(space.ip("-j", "link", "show", "eth0"))[0]["flags"]


@pytest.fixture
def segment(host, spaces):
    return dhcp.Segment(host, spaces)


@pytest.fixture
def programs():
    """Ends at the end what the test appends to it, and removes what killed daemons leave."""
    started = []
    yield started
    for program in started:
        program.stop(signal.SIGKILL)
    for name in os.listdir("/run/cni"):
        os.unlink(os.path.join("/run/cni", name))


@pytest.fixture
def daemon(host, tmp_path, programs):
    programs.append(Daemon(host, tmp_path))
    return programs[-1]


@pytest.fixture
def dnsmasq(segment, tmp_path, programs):
    programs.append(Dnsmasq(segment, tmp_path))
    return programs[-1]


@pytest.fixture
def attachment(host, container, segment, daemon):
    return Attachment(host, config(), container)


# --- ADD, CHECK, DEL against dnsmasq --------------------------------------------------------------

def test_an_add_gets_address_gateway_route_and_dns(attachment, dnsmasq, container):
    result = attachment.add()
    (ip,) = result["ips"]
    assert ip["address"].startswith(f"{SUBNET}.") and ip["address"].endswith("/24")
    assert ip["gateway"] == ROUTER and ip["interface"] == 2
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": ROUTER}]
    assert result["dns"] == {"nameservers": [DNS]}
    assert addresses(container) == [ip["address"]]
    assert f"default via {ROUTER}" in container.ip("route")
    attachment.check().expect_ok()


def test_the_server_sees_the_release(attachment, dnsmasq):
    leased = attachment.add()["ips"][0]["address"].split("/")[0]
    attachment.delete().expect_ok()
    dnsmasq.wait_for(f"DHCPRELEASE(eth0) {leased}")
    assert records() == []


def test_del_twice_and_without_anything(attachment, dnsmasq, host, container, spaces):
    attachment.add()
    attachment.delete().expect_ok()
    attachment.delete().expect_ok()
    attachment.delete(with_result=False, netns="").expect_ok()
    Attachment(host, config(), spaces.new("c")).delete().expect_ok()
    assert host.links() == ["lan0", "plug0"]


def test_two_containers_have_two_leases_and_reach_each_other(attachment, dnsmasq, host, spaces, container):
    from lib import traffic
    other = Attachment(host, config(), spaces.new("c"))
    attachment.add(), other.add()
    assert attachment.addresses != other.addresses and len(records()) == 2
    assert traffic.ping(container, other.addresses[0])
    attachment.delete().expect_ok()
    other.check().expect_ok()
    attachment.check().expect_error()


def test_two_interfaces_of_one_container_have_two_leases(attachment, dnsmasq, host, container):
    second = Attachment(host, config(), container, cid=attachment.cid, ifname="eth1")
    attachment.add(), second.add()
    assert attachment.addresses != second.addresses
    second.delete().expect_ok()
    attachment.check().expect_ok()


def test_a_server_knows_a_container_by_its_client_identifier(host, container, segment, daemon, tmp_path, programs):
    """Its MAC is another each time; the same container is the same client all the same."""
    identifier = ":".join(f"{byte:02x}" for byte in b"\0named/lan/eth0")
    programs.append(Dnsmasq(segment, tmp_path, f"--dhcp-host=id:{identifier},{SUBNET}.200"))
    attachment = Attachment(host, config(), container, cid="named")
    for _ in range(2):
        assert attachment.add()["ips"][0]["address"] == f"{SUBNET}.200/24"
        attachment.delete().expect_ok()


def test_an_add_without_del_keeps_the_address(attachment, dnsmasq, host, spaces):
    """The sandbox died and was made anew: what is remembered is confirmed (INIT-REBOOT), not discovered."""
    first = attachment.add()["ips"][0]["address"]
    attachment.container.ip("link", "delete", "eth0")
    discovered = dnsmasq.count("DHCPDISCOVER")
    again = Attachment(host, config(), spaces.new("c"), cid=attachment.cid)
    assert again.add()["ips"][0]["address"] == first
    assert dnsmasq.count("DHCPDISCOVER") == discovered and len(records()) == 1


def test_an_add_that_fails_later_gives_the_lease_back(attachment, dnsmasq, host, container):
    """The bridge cannot have the gateway's address, which dnsmasq's option gave it: IPAM is told DEL."""
    attachment.config["isGateway"] = True
    host.ip("link", "set", "lan0", "up")
    host.ip("address", "add", f"{SUBNET}.99/24", "dev", "lan0")
    attachment.run("ADD").expect_error()
    dnsmasq.wait_for("DHCPRELEASE")
    assert records() == [] and container.links() == []


def test_names_and_mtu_from_the_server(host, container, segment, daemon, tmp_path, programs):
    programs.append(Dnsmasq(segment, tmp_path, "--dhcp-option=option:domain-name,example.test",
                            "--dhcp-option=option:domain-search,a.test,b.a.test", "--dhcp-option=option:mtu,1400"))
    attachment = Attachment(host, config(priority=77), container)
    result = attachment.add()
    assert result["dns"] == {"nameservers": [DNS], "domain": "example.test", "search": ["a.test", "b.a.test"]}
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": ROUTER, "mtu": 1400, "priority": 77}]
    assert "mtu 1400" in container.ip("route", "show", "default")
    attachment.check().expect_ok()


def test_classless_routes_replace_the_router(host, container, segment, daemon, tmp_path, programs):
    programs.append(Dnsmasq(segment, tmp_path, f"--dhcp-option=121,10.7.0.0/16,{SUBNET}.7,10.8.0.0/16,0.0.0.0"))
    result = Attachment(host, config(), container).add()
    assert result["routes"] == [{"dst": "10.7.0.0/16", "gw": f"{SUBNET}.7"}, {"dst": "10.8.0.0/16", "scope": 253}]
    assert "gateway" not in result["ips"][0]
    assert "10.8.0.0/16 dev eth0 scope link" in container.ip("route")


def test_options_are_provided_and_requested(host, container, segment, daemon, dnsmasq):
    ipam = {"provide": [{"option": "host-name", "value": "web"}, {"option": 60, "value": "culvert"},
                        {"option": "77", "fromArg": "K8S_POD_NAME", "value": "unseen"}],
            "request": [{"option": "ntp-servers"}, {"option": "67"}]}
    Attachment(host, config(**ipam), container, args="IgnoreUnknown=1;K8S_POD_NAME=pod-7").add()
    dnsmasq.wait_for("client provides name: web").wait_for("vendor class: culvert").wait_for("user class: pod-7")
    assert "42:ntp-server" in dnsmasq.log and "67:bootfile-name" in dnsmasq.log and "3:router" in dnsmasq.log


def test_skip_default_requests_only_what_is_asked(host, container, segment, daemon):
    with fake(segment.server, granting()) as server:
        result = Attachment(host, config(request=[{"option": "routers", "skipDefault": True}]), container).add()
        assert server.requests[0].options[dhcp.PARAMETERS] == bytes([1, 3])
    assert "dns" not in result or result["dns"] == {}


def test_the_client_identifier_is_the_references(attachment, segment):
    with fake(segment.server, granting()) as server:
        attachment.add()
        assert {r.options[dhcp.CLIENT_ID] for r in server.requests} == {f"\0{attachment.cid}/lan/eth0".encode()}


def test_the_client_identifier_can_be_provided(host, container, segment, daemon):
    with fake(segment.server, granting()) as server:
        Attachment(host, config(provide=[{"option": "dhcp-client-identifier", "value": "mine"}]), container).add()
        assert {r.options[dhcp.CLIENT_ID] for r in server.requests} == {b"mine"}


def test_an_exhausted_pool_is_code_11(host, container, segment, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-resendtimeout", "2s"))
    programs.append(Dnsmasq(segment, tmp_path, f"--dhcp-range={SUBNET}.200,{SUBNET}.200,255.255.255.0,2m", v4=False))
    first = Attachment(host, config(), container)
    first.add()
    second_container = netns.NetNs("c")
    second = Attachment(host, config(), second_container)
    second.run("ADD").expect_error(CODE_TRY_AGAIN, "no more tries")
    assert second_container.links() == [] and len(records()) == 1
    first.delete().expect_ok()
    second.add()
    second_container.delete()


# --- DHCPv6 ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("families", [["6"], ["4", "6"]])
def test_dhcpv6(host, container, segment, daemon, tmp_path, programs, families):
    programs.append(Dnsmasq(segment, tmp_path, "--dhcp-option=option6:domain-search,six.test", v6=True))
    attachment = Attachment(host, config(families=families), container)
    result = attachment.add()
    last = result["ips"][-1]
    assert last["address"].startswith("fd90::") and last["address"].endswith("/128") and "gateway" not in last
    assert len(result["ips"]) == len(families) and addresses(container, 6) == [last["address"]]
    assert result["dns"]["nameservers"] == ([DNS] if "4" in families else []) + [DNS6]
    assert result["dns"]["search"] == ["six.test"]
    # Routes are the routers' to tell: the kernel hears their advertisements.
    eventually(lambda: "default via fe80" in container.ip("-6", "route"), "the router's advertisement")
    attachment.check().expect_ok()
    attachment.delete().expect_ok()
    programs[-1].wait_for("DHCPRELEASE(eth0) 00:04").wait_for("release received")
    assert records() == []


def test_dhcpv6_gives_the_same_container_the_same_address(host, container, segment, daemon, tmp_path, programs):
    programs.append(Dnsmasq(segment, tmp_path, v4=False, v6=True))
    attachment = Attachment(host, config(families=["6"]), container)
    first = attachment.add()["ips"]
    attachment.delete().expect_ok()
    assert attachment.add()["ips"][0]["address"] == first[0]["address"]


def test_when_one_family_fails_the_other_is_given_back(host, container, segment, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-resendtimeout", "1s"))
    programs.append(Dnsmasq(segment, tmp_path))  # no DHCPv6
    Attachment(host, config(families=["4", "6"]), container).run("ADD").expect_error(CODE_TRY_AGAIN, "DHCPv6", "no more tries")
    programs[-1].wait_for("DHCPRELEASE")
    assert records() == [] and container.links() == []


# --- keeping leases --------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_kea_leases_of_seconds_are_renewed(host, container, segment, daemon, tmp_path, programs, family):
    kea = Kea(segment, tmp_path, family, lifetime=8, renew=2, rebind=5)
    programs.append(kea)
    attachment = Attachment(host, config(families=[str(family)]), container)
    attachment.add()
    renewed = {4: "DHCP4_LEASE_ALLOC", 6: "DHCP6_LEASE_RENEW"}[family]
    eventually(lambda: kea.count(renewed) >= (4 if family == 4 else 3), "three renewals", 20)
    time.sleep(2)  # past the lifetime of the first lease
    attachment.check().expect_ok()
    assert is_up(container)


def test_renewal_is_unicast_and_rebinding_broadcast(attachment, segment, container):
    """The server that granted the lease falls silent after one renewal; another one takes the lease over."""
    heard = []

    def handle(request):
        answers = granting(more={dhcp.T1: dhcp.seconds(2), dhcp.T2: dhcp.seconds(4)}, lease=8)(request)
        if request.ciaddr == "0.0.0.0":
            return answers
        heard.append(request)
        if len(heard) == 1:
            return answers
        # From now on this is another server: only who rebinds, asking anybody, will take its word.
        return granting(more={dhcp.T1: dhcp.seconds(60), dhcp.T2: dhcp.seconds(90)}, server=f"{SUBNET}.9")(request)

    with fake(segment.server, handle) as server:
        attachment.add()
        eventually(lambda: _lease(attachment)["server"] == f"{SUBNET}.9", "taken over", 12)
        assert all(r.sender == f"{SUBNET}.77" and r.ciaddr == r.sender for r in heard)
        assert dhcp.SERVER_ID not in heard[0].options and dhcp.ADDRESS not in heard[0].options
        assert len(heard) >= 3 and server.seen(DISCOVER)[1:] == []
    attachment.check().expect_ok()


def _lease(attachment, family="v4"):
    order = {"containerId": attachment.cid, "network": attachment.config["name"], "ifName": attachment.ifname, "netns": "",
             "v4": True, "v6": True}
    answer = ask_daemon(attachment.host, {"method": "look-up", "order": order})
    return answer.get("leases", {}).get(family)


def test_an_expired_lease_takes_the_interface_down(attachment, segment, container):
    with fake(segment.server, granting(lease=4)):
        attachment.add()
    eventually(lambda: not is_up(container), "the link is down", 8)
    assert addresses(container) == [] and records() == []
    attachment.check().expect_error(CODE_CHECK, "lease")
    attachment.delete().expect_ok()


def test_a_server_that_forgot_the_lease_gives_it_again(attachment, segment, container, tmp_path, programs):
    """After NAK the client asks for the very address; the container never notices."""
    refused = []

    def handle(request):
        if request.ciaddr != "0.0.0.0" and not refused:
            refused.append(request)
            return [reply(request, NAK, "0.0.0.0", {dhcp.SERVER_ID: dhcp.address(dhcp.SERVER)})]
        return granting(lease=4 if not refused else 600)(request)

    with fake(segment.server, handle) as server:
        attachment.add()
        eventually(lambda: len(server.seen(DISCOVER)) == 2 and server.seen(REQUEST)[-1].ciaddr == "0.0.0.0", "asked anew", 8)
        assert server.seen(DISCOVER)[1].options[dhcp.ADDRESS] == dhcp.address(f"{SUBNET}.77")
        time.sleep(0.3)
    attachment.check().expect_ok()
    assert addresses(container) == [f"{SUBNET}.77/24"]


def test_a_refused_lease_that_cannot_be_had_again_is_over(host, container, segment, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-timeout", "1s"))
    attachment = Attachment(host, config(), container)

    def handle(request):
        if request.ciaddr != "0.0.0.0":
            return [reply(request, NAK, "0.0.0.0", {dhcp.SERVER_ID: dhcp.address(dhcp.SERVER)})]
        mine = f"{SUBNET}.78" if attachment.result else f"{SUBNET}.77"
        return granting(mine, lease=4)(request)

    with fake(segment.server, handle):
        attachment.add()
        eventually(lambda: not is_up(container), "the link is down", 8)
    assert addresses(container) == [] and records() == []


def test_a_changed_mac_does_not_cost_the_lease(attachment, segment, container):
    """As the tuning plugin does it after us."""
    with fake(segment.server, granting(lease=6)) as server:
        attachment.add()
        container.ip("link", "set", "eth0", "address", "02:00:00:00:00:42")
        eventually(lambda: any(r.ciaddr != "0.0.0.0" for r in server.requests), "a renewal", 8)
        assert server.requests[-1].mac == bytes.fromhex("020000000042")


# --- the daemon dies -------------------------------------------------------------------------------

@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_leases_survive_the_daemon(attachment, segment, daemon, container, host, tmp_path, programs, how):
    with fake(segment.server, granting(lease=10)) as server:
        attachment.add()
        before = _lease(attachment)
        daemon.stop(how)
        assert os.path.exists(SOCKET) == (how == signal.SIGKILL) and len(records()) == 1
        programs.append(Daemon(host, tmp_path))
        assert "holding 1 leases" in programs[-1].log
        assert _lease(attachment) == before and len(server.requests) == 2, "a restart costs no message"
        attachment.check().expect_ok()
        eventually(lambda: any(r.ciaddr == f"{SUBNET}.77" for r in server.requests), "renewed on schedule", 10)
        eventually(lambda: _lease(attachment)["expiresAt"] > before["expiresAt"], "for longer")
    attachment.delete().expect_ok()
    assert records() == []


def test_a_lease_that_fell_due_while_no_daemon_ran_is_renewed_at_once(attachment, segment, daemon, host, tmp_path, programs):
    with fake(segment.server, granting(lease=8)) as server:
        attachment.add()
        daemon.stop(signal.SIGKILL)
        time.sleep(4.5)  # past T1
        programs.append(Daemon(host, tmp_path))
        eventually(lambda: any(r.ciaddr != "0.0.0.0" for r in server.requests), "renewed", 3)


def test_a_restarted_daemon_drops_what_has_vanished(attachment, dnsmasq, daemon, host, tmp_path, programs, spaces):
    kept = Attachment(host, config(), spaces.new("c"))
    attachment.add(), kept.add()
    daemon.stop(signal.SIGKILL)
    spaces.drop(attachment.container)
    programs.append(Daemon(host, tmp_path).wait_for("its interface is gone"))
    assert len(records()) == 1
    kept.check().expect_ok()
    attachment.delete().expect_ok()


def test_a_new_namespace_under_an_old_path_is_not_taken_for_the_old(attachment, dnsmasq, daemon, host, tmp_path, programs):
    attachment.add()
    daemon.stop(signal.SIGKILL)
    name = attachment.container.name
    subprocess.run(["ip", "netns", "del", name], check=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    attachment.container.ip("link", "add", "eth0", "type", "bridge")
    programs.append(Daemon(host, tmp_path).wait_for("its interface is gone"))
    assert records() == []


def test_garbage_among_the_records_does_not_stop_the_daemon(dnsmasq, host, tmp_path, programs, container):
    os.makedirs(STATE, exist_ok=True)
    for i, text in enumerate(["", "{}", "[" * 100000, '{"order":{},"leases":{}}', "\0\xff"]):
        with open(f"{STATE}/{i:016x}-{i:016x}", "w") as f:
            f.write(text)
    programs.append(Daemon(host, tmp_path))
    assert "holding 0 leases" in programs[-1].log and records() == []
    Attachment(host, config(), container).add()


def test_records_are_private_and_whole(attachment, dnsmasq):
    attachment.add()
    (name,) = records()
    assert stat.S_IMODE(os.stat(f"{STATE}/{name}").st_mode) == 0o600 and stat.S_IMODE(os.stat(STATE).st_mode) == 0o700
    with open(f"{STATE}/{name}") as f:
        assert json.load(f)["order"]["containerId"] == attachment.cid


def test_a_second_daemon_is_refused(daemon, host, tmp_path, programs):
    for flags in ([], ["-statedir", "/run/culvert/dhcp2"], ["-socketpath", "/run/cni/dhcp2.sock"]):
        second = Daemon(host, tmp_path, *flags, ready=False)
        programs.append(second)
        assert second.process.wait(5) == 1 and "another" in second.log, flags
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}


def test_a_stale_socket_is_replaced_and_a_file_is_not(host, tmp_path, programs):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(SOCKET)
    programs.append(Daemon(host, tmp_path))
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}
    programs[-1].stop()
    with open(SOCKET, "w"):
        pass
    refused = Daemon(host, tmp_path, ready=False)
    programs.append(refused)
    assert refused.process.wait(5) == 1 and "no socket" in refused.log and os.path.isfile(SOCKET)


def test_pidfile_and_socket_go_with_the_daemon(host, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-pidfile", "/run/cni/dhcp.pid", "--socketpath=/run/cni/other.sock"))
    with open("/run/cni/dhcp.pid") as f:
        assert int(f.read()) == programs[-1].process.pid
    assert programs[-1].stop() == 0
    assert not os.path.exists("/run/cni/dhcp.pid") and not os.path.exists("/run/cni/other.sock")


def test_systemd_passes_the_socket(host, container, dnsmasq, tmp_path, programs):
    """LISTEN_FDS, as a .socket unit has it: connections wait for the daemon, and the file outlives it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(SOCKET)
        listener.listen()
        start = ["bash", "-c", f"exec env LISTEN_PID=$$ LISTEN_FDS=1 {cni.OURS.find('dhcp')} daemon 3<&{listener.fileno()}"]
        with host.enter():
            log = open(tmp_path / "activated", "wb")
            process = subprocess.Popen(start, pass_fds=[listener.fileno()], stderr=log)
        try:
            Attachment(host, config(), container).add()
        finally:
            process.terminate()
            process.wait(5)
        assert os.path.exists(SOCKET)


def test_hostprefix_comes_before_namespaces(host, container, dnsmasq, tmp_path, programs):
    os.makedirs("/run/culvert/rootfs/run/netns")
    subprocess.run(["mount", "--rbind", "/run/netns", "/run/culvert/rootfs/run/netns"], check=True)
    programs.append(Daemon(host, tmp_path, "-hostprefix", "/run/culvert/rootfs"))
    Attachment(host, config(), container).add()
    programs.append(Daemon(host, tmp_path, "-hostprefix", "/nonexistent", "-statedir", "/run/culvert/d2", "-socketpath",
                           "/run/cni/d2.sock"))
    other = netns.NetNs("c")
    Attachment(host, config(daemonSocketPath="/run/cni/d2.sock"), other).run("ADD").expect_error(None, "/nonexistent/run/netns")
    other.delete()
    subprocess.run(["umount", "-l", "/run/culvert/rootfs/run/netns"], check=True)


@pytest.mark.parametrize("flags", [["-timeout", "soon"], ["-resendmax"], ["-pidfile", "relative"], ["-nonsense", "1"], ["extra"]])
def test_bad_flags_are_refused(host, tmp_path, programs, flags):
    programs.append(Daemon(host, tmp_path, *flags, ready=False))
    assert programs[-1].process.wait(5) == 2 and "usage" in programs[-1].log


def test_the_broadcast_flag_asks_for_broadcasts(host, container, segment, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-broadcast"))
    with fake(segment.server, granting()) as server:
        Attachment(host, config(), container).add()
        assert all(r.broadcast for r in server.requests)


# --- without a daemon ------------------------------------------------------------------------------

def test_without_a_daemon_add_is_code_11_and_status_50(host, container, segment, programs):
    attachment = Attachment(host, config(), container)
    attachment.run("ADD").expect_error(CODE_TRY_AGAIN, "daemon", SOCKET)
    assert container.links() == []
    status(host, config()).expect_error(CODE_STATUS, "daemon")


def test_status_is_ok_with_a_daemon(host, segment, daemon):
    status(host, config()).expect_ok()


@pytest.mark.parametrize("families", [["4"], ["4", "6"]])
def test_del_without_a_daemon_releases_all_the_same(host, container, segment, daemon, tmp_path, programs, families):
    programs.append(Dnsmasq(segment, tmp_path, v6=True))
    attachment = Attachment(host, config(families=families), container)
    attachment.add()
    daemon.stop(signal.SIGKILL)
    attachment.check().expect_error(CODE_TRY_AGAIN, "daemon")
    attachment.delete().expect_ok()
    for _ in families:
        programs[-1].wait_for("DHCPRELEASE")
    assert programs[-1].count("DHCPRELEASE") == len(families) and records() == [] and container.links() == []
    attachment.delete().expect_ok()


def test_del_without_daemon_and_without_namespace_forgets(attachment, dnsmasq, daemon, spaces):
    attachment.add()
    daemon.stop(signal.SIGKILL)
    spaces.drop(attachment.container)
    attachment.delete(with_result=False, netns="").expect_ok()
    assert records() == []


def test_del_with_a_daemon_that_hangs(attachment, dnsmasq, daemon):
    attachment.add()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    attachment.delete().expect_ok()
    dnsmasq.wait_for("DHCPRELEASE")
    assert records() == []
    os.kill(daemon.process.pid, signal.SIGCONT)


def test_a_record_removed_by_hand_is_let_go(attachment, segment, daemon):
    with fake(segment.server, granting(lease=4)) as server:
        attachment.add()
        for name in records():
            os.unlink(f"{STATE}/{name}")
        daemon.wait_for("let go")
        assert len(server.requests) == 2


# --- CHECK, GC -------------------------------------------------------------------------------------

def test_check_allocates_nothing(attachment, dnsmasq, host):
    attachment.add()
    asked = dnsmasq.count("DHCPREQUEST")
    attachment.check().expect_ok()
    _release_behind_our_back(attachment)
    attachment.check().expect_error(CODE_CHECK, "no lease")
    assert dnsmasq.count("DHCPREQUEST") == asked and records() == []


def _release_behind_our_back(attachment):
    order = {"containerId": attachment.cid, "network": "lan", "ifName": "eth0", "netns": "", "v4": True, "v6": False}
    assert ask_daemon(attachment.host, {"method": "release", "order": order}) == {"leases": {}}


def test_check_notices_another_address_in_prev_result(attachment, dnsmasq):
    result = attachment.add()
    wrong = json.loads(json.dumps(result).replace(result["ips"][0]["address"], f"{SUBNET}.250/24"))
    attachment.check(wrong).expect_error(CODE_CHECK)


@pytest.mark.parametrize("alive", [True, False])
def test_gc_releases_what_is_not_valid(attachment, dnsmasq, daemon, host, spaces, alive):
    others = [Attachment(host, config(), spaces.new("c")), Attachment(host, config("other"), spaces.new("c"))]
    for each in (attachment, *others):
        each.add()
    if not alive:
        daemon.stop(signal.SIGKILL)
    gc(host, config(), None).expect_ok()
    assert len(records()) == 3
    gc(host, config(), [others[0]]).expect_ok()
    dnsmasq.wait_for(f"DHCPRELEASE(eth0) {attachment.addresses[0]}")
    assert len(records()) == 2 and dnsmasq.count("DHCPRELEASE(") == 1
    gc(host, config(), []).expect_ok()
    assert len(records()) == 1, "another network's leases are none of this GC's"


# --- hostile servers -------------------------------------------------------------------------------

BAD_OFFERS = {
    "no mask": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", {k: v for k, v in o.items() if k != dhcp.MASK}),
    "mask with holes": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", {**o, dhcp.MASK: b"\xff\x00\xff\x00"}),
    "no lease time": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", {k: v for k, v in o.items() if k != dhcp.LEASE}),
    "lease of no time": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", {**o, dhcp.LEASE: dhcp.seconds(0)}),
    "no server": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", {k: v for k, v in o.items() if k != dhcp.SERVER_ID}),
    "no address": lambda r, o: reply(r, OFFER, "0.0.0.0", o),
    "loopback": lambda r, o: reply(r, OFFER, "127.0.0.1", o),
    "multicast": lambda r, o: reply(r, OFFER, "224.0.0.1", o),
    "another transaction": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", o, xid=b"\1\2\3\4"),
    "another client": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", o, mac=b"\2\0\0\0\0\1"),
    "cut short": lambda r, o: reply(r, OFFER, f"{SUBNET}.66", o)[:-12] + bytes([dhcp.MASK, 200]),
    "an ACK out of turn": lambda r, o: reply(r, ACK, f"{SUBNET}.66", o),
    "a NAK out of turn": lambda r, o: reply(r, NAK, "0.0.0.0", o),
    "nothing": lambda r, o: b"",
    "noise": lambda r, o: os.urandom(1400),
}


@pytest.mark.parametrize("kind", BAD_OFFERS)
def test_bad_offers_are_passed_over(attachment, segment, kind):
    def handle(request):
        bad = [BAD_OFFERS[kind](request, defaults())] if request.type == DISCOVER else []
        return bad + granting()(request)

    with fake(segment.server, handle):
        assert attachment.add()["ips"][0]["address"] == f"{SUBNET}.77/24"


def test_what_was_wrong_with_offers_is_said(host, container, segment, tmp_path, programs):
    programs.append(Daemon(host, tmp_path, "-resendtimeout", "1s"))
    with fake(segment.server, lambda r: [BAD_OFFERS["no mask"](r, defaults())]):
        Attachment(host, config(), container).run("ADD").expect_error(CODE_TRY_AGAIN, "no more tries", "subnet mask")


def test_hostile_names_and_routes_do_not_reach_the_result(attachment, segment):
    more = {15: b"evil\nnameserver 6.6.6.6", 119: b"\xc0\x00", MTU: b"\x00\x01", 6: b"\0\0\0\0" + dhcp.address(DNS),
            121: bytes([33]) + b"\1" * 9, 3: dhcp.address("0.0.0.0")}
    with fake(segment.server, granting(more=more)):
        result = attachment.add()
    assert result["dns"] == {"nameservers": [DNS]} and result.get("routes", []) == [] and "gateway" not in result["ips"][0]


def test_a_flood_of_noise_delays_nothing(attachment, segment):
    def handle(request):
        return [os.urandom(300) for _ in range(200)] + granting()(request)

    with fake(segment.server, handle):
        attachment.add()


def test_another_server_cannot_refuse_or_grant_for_the_one_chosen(attachment, segment):
    stranger = {dhcp.SERVER_ID: dhcp.address(f"{SUBNET}.9")}

    def handle(request):
        good = granting()(request)
        if request.type != REQUEST:
            return good
        return [reply(request, NAK, "0.0.0.0", stranger), reply(request, ACK, f"{SUBNET}.66", {**defaults(), **stranger}), *good]

    with fake(segment.server, handle) as server:
        assert attachment.add()["ips"][0]["address"] == f"{SUBNET}.77/24"
        assert len(server.seen(DISCOVER)) == 1


# --- hostile clients -------------------------------------------------------------------------------

def test_only_root_may_ask(daemon, host):
    assert stat.S_IMODE(os.stat(SOCKET).st_mode) == 0o600
    with pytest.raises(PermissionError):
        ask_daemon(host, {"method": "ping"}, uid=65534)
    os.chmod(SOCKET, 0o666)
    assert ask_daemon(host, b"", raw=True, uid=65534) == b""
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}


@pytest.mark.parametrize("request_", [
    [], {}, {"method": "format"}, {"method": 5}, {"method": "allocate"}, {"method": "allocate", "order": []},
    {"method": "release", "order": {"containerId": "c"}}, {"method": "collect"}, {"method": "collect", "network": "n", "valid": {}},
    {"method": "allocate", "order": {"containerId": "c", "network": "n", "ifName": "x" * 16, "netns": "/", "v4": True, "v6": False}},
    {"method": "allocate", "order": {"containerId": "c", "network": "n", "ifName": "e", "netns": "/", "v4": False, "v6": False}},
    {"method": "allocate", "order": {"containerId": "c", "network": "n", "ifName": "e", "netns": "/", "v4": True, "v6": False,
                                     "provide": [{"option": 300, "value": ""}]}},
])
def test_bad_requests_get_an_error(daemon, host, request_):
    assert ask_daemon(host, request_)["error"]["code"] == "decode"
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff" + b"x" * 100, struct.pack("!I", 5) + b"[[[[[", os.urandom(5000),
                                  struct.pack("!I", 200000) + b"[" * 200000], ids=["huge", "no JSON", "noise", "deep"])
def test_bad_bytes_are_answered_or_cut_off(daemon, host, data):
    answer = ask_daemon(host, data, raw=True, timeout=8)
    assert answer == b"" or b"error" in answer
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}


def test_silent_clients_are_cut_off_and_hold_nobody_up(daemon, host):
    silent = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for each in silent:
        each.connect(SOCKET)
        each.send(b"\0\0")
    assert ask_daemon(host, {"method": "ping"}) == {"leases": {}}
    silent[0].settimeout(8)
    assert silent[0].recv(1) == b"", "cut off after 5 s"
    for each in silent:
        each.close()


def test_a_runtime_that_gives_up_leaves_no_lease(attachment, segment, daemon):
    """ADD killed while the daemon asks: the asking ends."""
    with fake(segment.server, lambda r: []) as server:
        with pytest.raises(AssertionError, match="still running"):
            attachment.run("ADD", timeout=1)
        eventually(lambda: daemon.process.poll() is None and records() == [], "nothing kept")
        time.sleep(0.5)
        asked = len(server.requests)
        time.sleep(2.5)
        assert len(server.requests) == asked
    attachment.delete(with_result=False).expect_ok()
    assert attachment.container.links() == []


def test_no_descriptor_or_thread_is_held_for_a_lease(attachment, dnsmasq, daemon, host, spaces):
    descriptors = lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd"))  # noqa: E731
    before = descriptors()
    attachment.add()
    for _ in range(5):
        Attachment(host, config(), spaces.new("c")).add()
    eventually(lambda: descriptors() == before, "descriptors as before")
    assert os.listdir(f"/proc/{daemon.process.pid}/task") == [str(daemon.process.pid)]


# --- configuration ---------------------------------------------------------------------------------

BAD_KEYS = {
    "daemonSocketPath": ["relative", "/" + "x" * 200, 5], "daemonStateDir": ["relative", []], "priority": [-1, "5", 1 << 33],
    "families": ["4", [], ["5"], [4]],
    "provide": [{}, ["x"], [{}], [{"option": "no-such"}], [{"option": 256, "value": "x"}], [{"option": 12}],
                [{"option": 12, "value": "x" * 256}], [{"option": 53, "value": "\3"}], [{"option": 12, "value": 5}],
                [{"option": n, "value": "x" * 250} for n in (12, 60, 77, 81, 124)]],
    "request": [{}, [{}], [{"option": "no-such"}], [{"option": 255}], [{"option": 3, "skipDefault": "yes"}]],
}


@pytest.mark.parametrize("key, value", [(k, v) for k, values in BAD_KEYS.items() for v in values])
def test_bad_values_are_code_7_and_change_nothing(host, container, segment, daemon, key, value):
    attachment = Attachment(host, config(**{key: value}), container)
    attachment.run("ADD").expect_error(CODE_CONFIG, f"ipam.{key}")
    assert container.links() == [] and records() == []


def test_a_missing_ipam_object_is_no_crash(host, container, daemon):
    bare = {"cniVersion": cni.LATEST, "name": "lan", "type": "dhcp"}
    cni.execute(host, cni.OURS, "dhcp", "ADD", bare, "c1", container.path, "eth0").expect_error(CODE_CONFIG, "ipam")


def test_a_missing_interface_is_code_7(host, container, daemon):
    bare = {"cniVersion": cni.LATEST, "name": "lan", "type": "dhcp", "ipam": {"type": "dhcp"}}
    cni.execute(host, cni.OURS, "dhcp", "ADD", bare, "c1", container.path, "eth0").expect_error(CODE_CONFIG, "eth0")
