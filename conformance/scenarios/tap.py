from lib.scenario import ContainerLink


class Tap(ContainerLink):
    plugin = "tap"
    has_reference = False

    def config(self, stage, index):
        return {"type": "tap", "owner": 1000, "multiQueue": True, "mtu": 1400, "ipam": self.ipam(stage)}


SCENARIO = Tap()
