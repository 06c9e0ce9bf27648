from lib.scenario import Scenario, host_local, uplink


class Vrf(Scenario):
    plugin = "vrf"
    oldest = "0.3.1"
    kernel = ("vrf",)
    reference_check_fails_when_broken = False  # Debian's does not notice that the interface has left
    deliberate = (("container: only ours: route -4 default dev eth0 *", "Debian's loses the routes that have a gateway"),
                  ("container: only ours: link eth0 ifalias = 'culvert *", "macvlan's, which says whose it is"))
    remains = (("rule ", "the kernel's own rule for VRFs, which it makes with the first one and keeps"),)

    def prepare(self, stage):
        uplink(stage)

    def before(self, stage, index):
        return [{"type": "macvlan", "master": "up0", "ipam": host_local(stage, "198.18.0.0/24")}]

    def config(self, stage, index):
        return {"type": "vrf", "vrfname": "blue"}

    def damage(self, stage, attachment):
        attachment.container.ip("link", "set", "eth0", "nomaster")


SCENARIO = Vrf()
