"""vlan: containers in one VLAN of a host interface's wire."""
import json
import socket
import struct

import pytest

from lib import configs, scenario, traffic
from lib.cni import Attachment

pytestmark = pytest.mark.vm

SOL_PACKET, PACKET_AUXDATA, ETH_P_ALL = 263, 8, 3  # uapi/linux/if_packet.h
TP_STATUS_VLAN_VALID = 1 << 4


@pytest.fixture(autouse=True)
def kernel():
    if scenario.kinds_of(["vlan"]):
        pytest.skip("this kernel has no vlan links; run in the virtual machine")


def vlan(tmp_path, **keys):
    return configs.container_link("vlan", tmp_path, **keys)


def link(ns, name="eth0"):
    return json.loads(ns.ip("-d", "-j", "link", "show", "dev", name))[0]


def in_vlan(outside, tag, address):
    outside.ip("link", "add", "link", "eth0", "name", f"v{tag}", "type", "vlan", "id", str(tag))
    outside.ip("address", "flush", "dev", "eth0", "scope", "global")
    outside.ip("address", "add", address, "dev", f"v{tag}")
    outside.ip("link", "set", f"v{tag}", "up")


def tags_seen(ns, name, action):
    """The VLAN ids of the frames that `name` sends and receives while `action` runs."""
    with ns.enter():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with wire:
        wire.bind((name, ETH_P_ALL))
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        action()
        wire.setblocking(False)
        seen = set()
        while True:
            try:
                frame, extra, _, _ = wire.recvmsg(2000, 100)
            except BlockingIOError:
                return seen
            auxiliary = [struct.unpack("IIIHHHH", data) for _, kind, data in extra if kind == PACKET_AUXDATA]
            if auxiliary and auxiliary[0][0] & TP_STATUS_VLAN_VALID:
                seen.add(auxiliary[0][5] & 0xFFF)
            elif frame[12:14] == b"\x81\x00":
                seen.add(int.from_bytes(frame[14:16], "big") & 0xFFF)


def test_the_master_carries_tagged_frames(host, outside, container, tmp_path):
    attachment = Attachment(host, vlan(tmp_path, vlanId=7), container)
    attachment.add()
    in_vlan(outside, 7, "198.18.0.2/24")
    assert link(container)["linkinfo"]["info_data"]["id"] == 7
    reached = []
    tags = tags_seen(host, "uplink", lambda: reached.append(traffic.reach(container, outside, "198.18.0.2")))
    assert reached == attachment.addresses and tags == {7}


def test_another_vlan_hears_nothing(host, outside, spaces, tmp_path):
    made = [Attachment(host, vlan(tmp_path, vlanId=tag), spaces.new("c")) for tag in (7, 8)]
    for attachment in made:
        attachment.add()
    in_vlan(outside, 7, "198.18.0.2/24")
    assert traffic.ping(made[0].container, "198.18.0.2")
    assert not traffic.ping(made[1].container, "198.18.0.2", wait=1)
    assert not traffic.ping(made[0].container, made[1].addresses[0], wait=1)


def test_a_vlan_of_a_master_is_one_containers(host, outside, spaces, tmp_path):
    first, second = (Attachment(host, vlan(tmp_path), spaces.new("c")) for _ in range(2))
    first.add()
    second.try_add().expect_error(5, "exist")
    assert second.container.links() == []
    first.check().expect_ok()
    first.delete().expect_ok()
    second.add()


@pytest.mark.parametrize("tag", [0, 1, 4094])
def test_the_whole_range_works(tag, host, outside, container, tmp_path):
    attachment = Attachment(host, vlan(tmp_path, vlanId=tag), container)
    attachment.add()
    assert link(container)["linkinfo"]["info_data"]["id"] == tag
    attachment.check().expect_ok()


@pytest.mark.parametrize("tag", [-1, 4095, 100000])
def test_outside_the_range_is_refused(tag, host, outside, container, tmp_path):
    Attachment(host, vlan(tmp_path, vlanId=tag), container).try_add().expect_error(7, "vlanId", str(tag))


def test_a_master_must_be_named(host, outside, container, tmp_path):
    config = vlan(tmp_path)
    del config["master"]
    Attachment(host, config, container).try_add().expect_error(7, "master")


def test_check_notices_another_vlan(host, outside, container, tmp_path):
    attachment = Attachment(host, vlan(tmp_path), container)
    attachment.add()
    attachment.config["vlanId"] = 8
    attachment.check().expect_error(100, "VLAN 7")
