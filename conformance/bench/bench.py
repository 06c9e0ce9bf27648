"""What the benchmarks share: running a command under tools/measure, taking turns, and the table."""
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from lib import cni  # noqa: E402

TOOLS = os.path.join(cni.ROOT, "build/conformance")


class Sample:
    def __init__(self, line):
        rc, wall, cpu, rss, everything = map(int, line.split())
        self.rc, self.wall_us, self.cpu_us, self.rss_kib, self.all_us = rc, wall / 1e3, cpu / 1e3, rss, everything / 1e3


class Launcher:
    """Runs one command inside a namespace under tools/measure."""

    def __init__(self, folder):
        self.stdin, self.stdout = os.path.join(folder, "stdin"), os.path.join(folder, "stdout")

    def run(self, host, command, env=None, stdin=b""):
        with open(self.stdin, "wb") as f:
            f.write(stdin)
        with host.enter():
            done = subprocess.run([f"{TOOLS}/measure", self.stdin, self.stdout, *command], env=env or {},
                                  stdout=subprocess.PIPE, check=True)
        sample = Sample(done.stdout.decode())
        if sample.rc != 0:
            with open(self.stdout, errors="replace") as f:
                raise SystemExit(f"{' '.join(command)} failed with {sample.rc}: {f.read()}")
        return sample

    def output(self):
        with open(self.stdout) as f:
            text = f.read()
        return json.loads(text) if text.strip() else None


PAUSE = 0.02  # seconds before every measurement, for what the kernel still does about the one before


def alternate(sides, rounds):
    """rounds x (ADD, DEL) of every side, in every order by turns; name to {"ADD": [samples], "DEL": [samples]}."""
    samples = {s.name: {"ADD": [], "DEL": []} for s in sides}
    for side in sides:  # the first creates the bridge and fills caches
        side.add(), side.delete()
    orders = itertools.cycle(itertools.permutations(sides))
    for _ in range(rounds):
        for side in next(orders):
            for verb, run in (("ADD", side.add), ("DEL", side.delete)):
                time.sleep(PAUSE)
                samples[side.name][verb].append(run())
    return samples


def median(samples, what):
    return statistics.median(getattr(s, what) for s in samples)


class Table:
    """Rows of the report: a figure of ours beside the one it is measured by."""

    def __init__(self):
        self.rows = []

    def ratio(self, what, ours, versus, other, bound, unit="us"):
        value = ours / other
        self.rows.append(dict(what=what, ours=ours, unit=unit, versus=versus, other=other, ratio=value, bound=bound,
                              ok=None if bound is None else value <= bound))

    def limit(self, what, ours, bound, unit):
        self.rows.append(dict(what=what, ours=ours, unit=unit, versus="", other=None, ratio=None, bound=bound,
                              ok=None if bound is None else ours <= bound))

    def fact(self, what, text, ok):
        self.rows.append(dict(what=what, ours=text, unit="", versus="", other=None, ratio=None, bound=None, ok=ok))

    @property
    def failed(self):
        return [r for r in self.rows if r["ok"] is False]

    def print(self):
        form = "{:<56} {:>12} {:>24} {:>8} {:>8}  {}"
        print(form.format("", "ours", "against", "ratio", "bound", ""))
        for r in self.rows:
            ours = r["ours"] if isinstance(r["ours"], str) else shown(r["ours"], r["unit"])
            other = f"{r['versus']} {shown(r['other'], r['unit'])}" if r["other"] is not None else ""
            ratio = f"{r['ratio']:.3f}x" if r["ratio"] is not None else ""
            bound = "" if r["bound"] is None else (f"{r['bound']:.3f}x" if r["ratio"] is not None else shown(r["bound"], r["unit"]))
            verdict = {True: "PASS", False: "FAIL", None: ""}[r["ok"]]
            print(form.format(r["what"], ours, other, ratio, bound, verdict))


def shown(value, unit):
    if unit == "us":
        return f"{value / 1000:.2f} ms"
    return f"{value:.2f} {unit}"
