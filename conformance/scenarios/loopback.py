from lib.scenario import Scenario


class Loopback(Scenario):
    plugin = "loopback"
    ifname = "lo"
    remains_after_gc = ((" link lo", "the container's own, and gone with it: nothing of it is on the host"),
                        (" address 00000000000000000000000000000001/128", "the same"),
                        (" address 7f000001/8", "the same"), (" route ", "the same"), (" qdisc ", "the same"))

    def prepare_container(self, stage, container, index):
        container.ip("link", "set", "lo", "down")

    def config(self, stage, index):
        return {"type": "loopback"}

    def damage(self, stage, attachment):
        attachment.container.ip("link", "set", "lo", "down")


SCENARIO = Loopback()
