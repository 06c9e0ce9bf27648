from lib.scenario import Scenario, host_local


class Ptp(Scenario):
    plugin = "ptp"

    def config(self, stage, index):
        return {"type": "ptp", "ipMasq": True, "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))}


SCENARIO = Ptp()
