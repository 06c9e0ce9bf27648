from lib import nft
from lib.scenario import Scenario, host_local


class Firewall(Scenario):
    plugin = "firewall"
    oldest = "0.4.0"
    reference_check_fails_when_broken = False  # it makes what is missing
    deliberate = (("*nft*", "sets in our table, and one rule for all in the chains of iptables"),)

    def prepare(self, stage):  # as docker leaves a host
        for command in ("iptables", "ip6tables"):
            stage.host.run(command, "-P", "FORWARD", "DROP")

    def before(self, stage, index):
        return [{"type": "bridge", "bridge": "cni0", "isGateway": True,
                 "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))}]

    def config(self, stage, index):
        policy = "isolated" if stage.version == "1.1.0" else "same-bridge"  # which Debian's does not know
        return {"type": "firewall", "backend": "iptables", "ingressPolicy": policy}

    def damage(self, stage, attachment):
        if nft.ours(stage.host):
            nft.delete_elements(stage.host, "inet", attachment.result["ips"][0]["address"].split("/")[0])


SCENARIO = Firewall()
