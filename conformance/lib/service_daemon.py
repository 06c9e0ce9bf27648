"""culvertd with the role `services` in one namespace."""
import http.client
import json
import os
import re
import subprocess

from . import cluster


class ServiceDaemon:
    """Reads objects from `source`, a section of culvertd.yaml; `settings` are those of the section services. No source and
    no name: something in `settings` says them."""

    def __init__(self, space, folder, name, source, settings=None):
        self.space, self.folder, self.name, self.source = space, str(folder), name, source
        self.settings = settings or {}
        self.process = None
        os.makedirs(self.folder, exist_ok=True)

    def start(self):
        config = {"nodeName": self.name, "roles": ["services"], "stateDir": f"{self.folder}/state",
                  "control": {"socket": f"{self.folder}/sock"}, "metrics": {"address": ""}, "health": {"address": ""},
                  "source": self.source, "services": self.settings}
        config = {key: value for key, value in config.items() if value is not None}
        with open(f"{self.folder}/culvertd.yaml", "w") as f:
            json.dump(config, f)
        with self.space.enter(), open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([f"{cluster.BIN}/culvertd", "--config", f"{self.folder}/culvertd.yaml"],
                                            stdout=log, stderr=log)

    def stop(self, kill=False):
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(60)
        self.process = None

    def log(self):
        with open(f"{self.folder}/log") as f:
            return f.read()

    def get(self, path):
        connection = cluster.UnixConnection(f"{self.folder}/sock")
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def try_get(self, path):
        try:
            return self.get(path)
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def role(self):
        status = self.try_get("/v1/status") or {}
        return next((r for r in status.get("roles", []) if r.get("name") == "services"), None)

    def complaints(self):
        return [c["what"] for c in (self.role() or {"complaints": ["no answer"]})["complaints"]]

    def rows(self):
        """A row for each frontend; none before the daemon answers."""
        return (self.try_get("/v1/services") or {"services": []})["services"]

    def await_(self, condition, seconds=60.0):
        return cluster.wait_until(condition, lambda: f"{self.role()}\n{self.log()[-2000:]}", seconds)

    def await_ready(self):
        self.await_(lambda: (self.role() or {"state": "starting"})["state"] in ("ok", "degraded"))

    def memory(self, what="VmRSS"):
        """KiB of the running daemon: VmRSS now, VmHWM at most."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(rf"{what}:\s+(\d+)", f.read())[1])

    def elements(self):
        """What is in the table's sets, as (set, element); chains differ with what was there before."""
        text = self.space.run("nft", "-j", "list", "table", "inet", "culvert_services", timeout=60)
        return sorted((one[kind]["name"], json.dumps(element)) for one in json.loads(text)["nftables"] for kind in ("set", "map")
                      for element in one.get(kind, {}).get("elem", []))

    def table(self):
        """The table, line by line and element by element: sets have no order. Whether a daemon owns it is left out."""
        text = self.space.run("nft", "-s", "list", "table", "inet", "culvert_services", check=False, timeout=60)
        text = re.sub(r" # progname .*|\n\tflags .*\n", "", text)
        return sorted(line.strip() for line in re.sub("[{},]", "\n", text).split("\n"))
