from lib.scenario import Scenario


class Static(Scenario):
    plugin = "static"
    reference_check_fails_when_broken = False  # it does not miss an address that is not there at all

    def config(self, stage, index):
        return {"type": "static", "ipam": {"type": "static", "routes": [{"dst": "0.0.0.0/0"}],
                                           "addresses": [{"address": f"10.60.0.{5 + index}/24", "gateway": "10.60.0.1"}]}}

    def damage(self, stage, attachment):
        attachment.result["ips"] = []  # it keeps nothing: its CHECK compares the configuration with the result


SCENARIO = Static()
