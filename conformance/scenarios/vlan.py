from lib.scenario import ContainerLink


class Vlan(ContainerLink):
    plugin = "vlan"
    kernel = ("vlan",)

    def config(self, stage, index):
        return {"type": "vlan", "master": "up0", "vlanId": 7 + index, "mtu": 1400, "ipam": self.ipam(stage)}


SCENARIO = Vlan()
