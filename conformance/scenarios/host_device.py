from lib.scenario import Scenario, host_local


class HostDevice(Scenario):
    plugin = "host-device"
    exclusive = True
    reference_deletes_twice = False

    def prepare(self, stage):
        stage.beyond = stage.spaces.new("beyond")

    def prepare_container(self, stage, container, index):
        """Each container has a device of its own to take."""
        stage.host.ip("link", "add", f"nic{index}", "type", "veth", "peer", "name", f"far{index}", "netns", stage.beyond.name)
        stage.host.ip("link", "set", f"nic{index}", "up")
        stage.beyond.ip("link", "set", f"far{index}", "up")

    def config(self, stage, index):
        return {"type": "host-device", "device": f"nic{index}", "ipam": host_local(stage)}

    def damage(self, stage, attachment):
        attachment.container.ip("link", "set", "eth0", "down")
        attachment.container.ip("link", "set", "eth0", "name", "lan0")


SCENARIO = HostDevice()
