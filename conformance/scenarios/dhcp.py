import json
import os
import shutil
import tempfile

from lib import dhcp
from lib.cni import OURS
from lib.scenario import Scenario


class Dhcp(Scenario):
    """The plugin itself, on an interface that is there already, with dnsmasq on the segment."""

    plugin = "dhcp"
    result_not_compared = ("dns",)  # the reference does not tell it
    reference_check_fails_when_broken = False  # its CHECK allocates

    def prepare(self, stage):
        stage.logs = tempfile.mkdtemp(prefix="dhcp-")  # not in the stage's folder, which is compared
        stage.segment = dhcp.Segment(stage.host, stage.spaces)
        stage.programs = [dhcp.Dnsmasq(stage.segment, stage.logs, "--leasefile-ro")]
        stage.socket = os.path.join(stage.logs, "dhcp.sock")
        flags = ["-socketpath", stage.socket]
        if stage.plugins is OURS:
            stage.programs.append(dhcp.Daemon(stage.host, stage.logs, *flags, "-statedir", self.state_dir(stage)))
        else:
            stage.programs.append(dhcp.Program(stage.host, stage.logs, "theirs", [stage.plugins.find("dhcp"), "daemon", *flags]))
            dhcp.eventually(lambda: os.path.exists(stage.socket), "the reference's daemon")

    def state_dir(self, stage):
        return os.path.join(str(stage.folder), "leases")

    def prepare_container(self, stage, container, index):
        port = f"port{index}"
        stage.segment.plug(container, port)
        # dnsmasq makes the address from the MAC.
        container.ip("link", "set", "eth0", "address", f"02:00:00:00:01:{index:02x}", "up")

    def config(self, stage, index):
        return {"type": "dhcp", "ipam": {"type": "dhcp", "daemonSocketPath": stage.socket,
                                         "daemonStateDir": self.state_dir(stage)}}

    def damage(self, stage, attachment):
        leased = attachment.result["ips"][0]["address"]
        attachment.result = json.loads(json.dumps(attachment.result).replace(leased, f"{dhcp.SUBNET}.250/24"))

    def close(self, stage):
        for program in stage.programs:
            program.stop()
        shutil.rmtree(stage.logs, ignore_errors=True)


SCENARIO = Dhcp()
