"""tap: frames between a program and the container's interface."""
import json
import os

import pytest

from lib import configs, tun
from lib.cni import Attachment

pytestmark = pytest.mark.netns


def tap(tmp_path, **keys):
    return configs.container_link("tap", tmp_path, **keys)


@pytest.fixture
def add(host, container, tmp_path):
    def make(**keys):
        made = Attachment(host, tap(tmp_path, **keys), container)
        made.add()
        return made
    return make


def link(ns, name="eth0"):
    return json.loads(ns.ip("-d", "-j", "link", "show", "dev", name))[0]


def details(ns):
    return link(ns)["linkinfo"]["info_data"]


def test_frames_go_both_ways(add, container):
    attachment = add()
    address = attachment.addresses[0]
    with tun.opened(container) as fd:
        reply = tun.asks(fd, address)
    assert reply[12:14] == tun.ETH_P_ARP.to_bytes(2, "big") and reply[20:22] == b"\0\2"
    assert reply[6:12].hex(":") == attachment.result["interfaces"][0]["mac"]


def test_the_link_is_what_was_configured(add, container):
    add(mac="02:00:00:00:00:77", mtu=1400, owner=42420, group=42421, multiQueue=True)
    assert link(container)["address"] == "02:00:00:00:00:77" and link(container)["mtu"] == 1400
    found = details(container)
    assert found["type"] == "tap" and found["persist"] and found["vnet_hdr"] and found["multi_queue"] and not found["pi"]
    assert (str(found["user"]), str(found["group"])) == ("42420", "42421")


def test_without_owner_and_group_the_link_is_just_as_configured(add, container):
    """The reference then executes `ip`; with both it loses mac and mtu."""
    assert add(mac="02:00:00:00:00:78", mtu=1300).result["interfaces"][0]["mac"] == "02:00:00:00:00:78"
    found = details(container)
    assert link(container)["mtu"] == 1300 and "user" not in found and "group" not in found and not found["multi_queue"]


def opens_as_nobody(ns):
    """Whether a process without privileges gets the tap, /dev/net/tun being open to all."""
    child = os.fork()
    if child == 0:
        with ns.enter():
            try:
                fd = os.open("/dev/net/tun", os.O_RDWR)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                tun.attach(fd)
                os._exit(0)
            except PermissionError:
                os._exit(1)
            finally:
                os._exit(2)
    return {0: True, 1: False}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


@pytest.mark.parametrize("keys, expected", [(dict(owner=65534), True), (dict(owner=1000), False), (dict(group=65534), True),
                                            (dict(group=1000), False)])
def test_only_owner_and_group_open_it(keys, expected, add, container):
    add(**keys)
    assert opens_as_nobody(container) == expected


def test_many_queues_or_one(add, container):
    add(multiQueue=True)
    flags = tun.IFF_TAP | tun.IFF_NO_PI | tun.IFF_MULTI_QUEUE
    with tun.opened(container, flags=flags), tun.opened(container, flags=flags):
        pass
    with pytest.raises(OSError), tun.opened(container):
        pass


def test_it_outlives_the_program(add, container):
    attachment = add()
    with tun.opened(container):
        pass
    attachment.check().expect_ok()


def test_a_port_of_a_bridge_in_the_container(host, container, spaces, tmp_path):
    """The machine behind the tap talks to whoever is on the bridge."""
    container.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
    container.ip("address", "add", "198.18.0.9/24", "dev", "br0")
    container.ip("link", "set", "br0", "up")
    config = {**tap(tmp_path, bridge="br0"), "ipam": {}}
    attachment = Attachment(host, config, container)
    attachment.add()
    assert link(container)["master"] == "br0"
    attachment.check().expect_ok()
    with tun.opened(container) as fd:
        assert tun.asks(fd, "198.18.0.9")
    container.ip("link", "set", "eth0", "nomaster")
    attachment.check().expect_error(100, "br0")
    attachment.delete().expect_ok()
    assert container.links() == ["br0"]


def test_a_bridge_that_is_none_is_refused(host, container, tmp_path):
    container.ip("link", "add", "p0", "type", "veth", "peer", "name", "p1")
    for name, code in (("p0", 7), ("missing", 5)):
        Attachment(host, tap(tmp_path, bridge=name), container).try_add().expect_error(code, name)
    assert container.links() == ["p0", "p1"]


def test_a_context_without_selinux_is_refused(host, container, tmp_path):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this host uses SELinux")
    config = tap(tmp_path, selinuxContext="system_u:system_r:container_t:s0")
    Attachment(host, config, container).try_add().expect_error(7, "selinuxContext")
    assert container.links() == []


def test_the_runtimes_mac_wins(host, spaces, tmp_path):
    for keys, args, expected in ((dict(mac="02:00:00:00:00:03"), "IgnoreUnknown=1;MAC=02:00:00:00:00:01", "02:00:00:00:00:01"),
                                 (dict(runtimeConfig={"mac": "02:00:00:00:00:02"}), "IgnoreUnknown=1;MAC=02:00:00:00:00:01",
                                  "02:00:00:00:00:02")):
        attachment = Attachment(host, tap(tmp_path, **keys), spaces.new("c"), args=args)
        assert attachment.add()["interfaces"][0]["mac"] == expected
        assert link(attachment.container)["address"] == expected
