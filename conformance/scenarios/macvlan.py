from lib.scenario import ContainerLink

NEIGHBOURS_LEARN = ("*ipv6/eth0/ndisc_notify: ours '1', reference '0'", "as newer references do: neighbours learn of the address at once")


class Macvlan(ContainerLink):
    plugin = "macvlan"
    deliberate = (*ContainerLink.deliberate, NEIGHBOURS_LEARN)

    def config(self, stage, index):
        return {"type": "macvlan", "master": "up0", "mtu": 1400, "ipam": self.ipam(stage)}


SCENARIO = Macvlan()
