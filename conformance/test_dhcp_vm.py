"""dhcp on links that this machine's kernel cannot make."""
import pytest

from lib import cni, dhcp, scenario
from lib.cni import Attachment

pytestmark = pytest.mark.vm


@pytest.mark.parametrize("kind, keys", [("ipvlan", {}), ("vlan", {"vlanId": 7})])
def test_dhcp_on(kind, keys, host, spaces, container, tmp_path):
    missing = scenario.kinds_of((kind,))
    if missing:
        pytest.skip(f"this kernel has no {kind}; run in the virtual machine")
    server = spaces.new("server")
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "wire", "netns", server.name)
    host.ip("link", "set", "up0", "up")
    server.ip("link", "set", "wire", "up")
    if kind == "vlan":
        server.ip("link", "add", "link", "wire", "name", "eth0", "type", "vlan", "id", "7")
    else:
        server.ip("link", "set", "wire", "down")
        server.ip("link", "set", "wire", "name", "eth0")
    server.ip("address", "add", f"{dhcp.SERVER}/24", "dev", "eth0")
    server.ip("link", "set", "eth0", "up")
    config = {"cniVersion": cni.LATEST, "name": "lan", "type": kind, "master": "up0", **keys, "ipam": {"type": "dhcp"}}
    programs = [dhcp.Dnsmasq(server, tmp_path), dhcp.Daemon(host, tmp_path)]
    try:
        attachment = Attachment(host, config, container)
        attachment.add()
        attachment.check().expect_ok()
        if kind == "ipvlan":
            assert "DHCPACK" in programs[0].log
        attachment.delete().expect_ok()
        programs[0].wait_for("DHCPRELEASE")
    finally:
        for program in programs:
            program.stop()
