from lib.scenario import Scenario, host_local


class Bridge(Scenario):
    plugin = "bridge"
    deliberate = (("*ipv6/cni0/accept_ra: ours '1', reference '0'", "the operator's own bridge keeps the operator's settings"),)

    def prepare(self, stage):  # by the operator; a bridge of the plugin's own is in test_crash.py
        stage.host.ip("link", "add", "cni0", "address", "02:00:00:00:00:01", "type", "bridge")
        stage.host.ip("address", "add", "10.60.0.1/24", "dev", "cni0")
        stage.host.ip("address", "add", "fd60::1/64", "dev", "cni0", "nodad")
        stage.host.ip("link", "set", "cni0", "up")

    def config(self, stage, index):
        return {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "macspoofchk": True,
                "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))}


SCENARIO = Bridge()
