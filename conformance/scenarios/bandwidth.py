from lib.scenario import Scenario, host_local


class Bandwidth(Scenario):
    plugin = "bandwidth"
    oldest = "0.3.0"
    deliberate = (("*only ours: link bwp# ifalias = *", "the owner, so that GC finds it"),
                  ("*only ours: link bwp# txqlen = 32", "the kernel's default; the reference sets none by accident"))
    reference_check_fails_when_broken = False  # a missing qdisc is none that differs

    def before(self, stage, index):
        return [{"type": "ptp", "ipam": host_local(stage)}]

    def config(self, stage, index):
        return {"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000,
                "egressBurst": 1_600_000}

    def damage(self, stage, attachment):
        ends = [i["name"] for i in attachment.result["interfaces"] if i["name"].startswith("bwp")]
        stage.host.run("tc", "qdisc", "del", "dev", ends[0], "root")


SCENARIO = Bandwidth()
