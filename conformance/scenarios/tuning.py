from lib.scenario import Scenario, host_local


class Tuning(Scenario):
    plugin = "tuning"
    macs = ("c2:11:22:33:44:55",)

    def before(self, stage, index):
        return [{"type": "ptp", "ipam": host_local(stage)}]

    def config(self, stage, index):
        # Debian's 1.1.1 has no txQLen, and its CHECK does not know IFNAME.
        return {"type": "tuning", "mac": self.macs[0], "mtu": 1400, "promisc": True, "allmulti": True,
                "dataDir": str(stage.folder / "backups"),
                "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1", "net.core.somaxconn": "500"}}

    def damage(self, stage, attachment):
        attachment.container.ip("link", "set", "eth0", "mtu", "1300")


SCENARIO = Tuning()
