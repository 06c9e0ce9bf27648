from lib.scenario import Scenario, host_local


class Sbr(Scenario):
    plugin = "sbr"
    deliberate = (("container: *route -6 fe80::/64 *", "neighbours are asked from link-local addresses too: that route stays in the main table"),)
    reference_check_fails_when_broken = False  # its CHECK does nothing

    def before(self, stage, index):
        return [{"type": "ptp", "ipam": host_local(stage, "10.60.0.0/24")}]

    def config(self, stage, index):
        return {"type": "sbr"}

    def damage(self, stage, attachment):
        attachment.container.ip("rule", "del", "table", "100")


SCENARIO = Sbr()
