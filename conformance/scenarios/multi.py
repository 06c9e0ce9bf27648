from lib.scenario import Scenario, host_local, uplink


class Multi(Scenario):
    """A routed and a macvlan network, from one entry."""

    plugin = "multi"
    has_reference = False

    def prepare(self, stage):
        uplink(stage)

    def config(self, stage, index):
        ptp = {"type": "ptp", "ipMasq": True, "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))}
        wire = {"type": "macvlan", "master": "up0", "ipam": host_local(stage, "198.18.0.0/24")}
        return {"type": "multi", "confDir": str(stage.folder / "net.d"), "cniDir": str(stage.folder / "records"),
                "delegates": [{"name": "matrix-inner", "cniVersion": stage.version, "plugins": [ptp]},
                              {"name": "matrix-wire", "cniVersion": stage.version, **wire}]}

    def damage(self, stage, attachment):
        attachment.container.ip("link", "del", "net1")


SCENARIO = Multi()
