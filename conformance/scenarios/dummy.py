from lib.scenario import ContainerLink


class Dummy(ContainerLink):
    plugin = "dummy"
    has_reference = False
    kernel = ("dummy",)

    def config(self, stage, index):
        return {"type": "dummy", "ipam": self.ipam(stage)}


SCENARIO = Dummy()
