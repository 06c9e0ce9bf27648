from lib.scenario import ContainerLink
from .macvlan import NEIGHBOURS_LEARN


class Ipvlan(ContainerLink):
    plugin = "ipvlan"
    kernel = ("ipvlan",)
    deliberate = (*ContainerLink.deliberate, NEIGHBOURS_LEARN)

    def config(self, stage, index):
        return {"type": "ipvlan", "master": "up0", "mode": "l3", "mtu": 1400, "ipam": self.ipam(stage)}


SCENARIO = Ipvlan()
