import os

from lib.scenario import Scenario, host_local


class HostLocal(Scenario):
    plugin = "host-local"

    def config(self, stage, index):
        return {"type": "host-local", "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64")}

    def damage(self, stage, attachment):
        for ip in attachment.result["ips"]:
            os.unlink(os.path.join(str(stage.folder), "ipam", stage.network, ip["address"].split("/")[0]))


SCENARIO = HostLocal()
