from lib import nft
from lib.scenario import Scenario, host_local


class Portmap(Scenario):
    plugin = "portmap"
    reference_check_works = False  # Debian's fails on what its own ADD made
    deliberate = (("*nft*", "our table instead of chains and rules per container"),)

    def before(self, stage, index):
        return [{"type": "ptp", "ipam": host_local(stage, "10.60.0.0/24", "fd60::/64", routes=("0.0.0.0/0", "::/0"))}]

    def config(self, stage, index):
        ports = [{"hostPort": 8080 + index, "containerPort": 80, "protocol": "tcp"},
                 {"hostPort": 5353 + index, "containerPort": 53, "protocol": "udp"}]
        return {"type": "portmap", "runtimeConfig": {"portMappings": ports}}

    def damage(self, stage, attachment):
        if nft.ours(stage.host):
            nft.delete_elements(stage.host, "inet", str(8080 + attachment.index))
        else:  # the reference's
            stage.host.run("nft", "flush", "chain", "ip", "nat", "CNI-HOSTPORT-DNAT")


SCENARIO = Portmap()
