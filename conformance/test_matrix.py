"""Every plugin x every verb x {side by side with the reference, crash, GC, hostile input}, with no blank.

`scripts/matrix` prints the table from the reports of the runs. What each plugin does besides is in its own test file;
here they all stand the same tests, each in the use that conformance/scenarios/<plugin>.py describes.
"""
import fnmatch
import os

import pytest

import test_side_by_side as side_by_side
from lib import cni, hostile, netns, scenario, snapshot
from lib.cni import OURS, REFERENCE
from lib.scenario import Stage, left

VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
DEBIANS_VERSION = "1.0.0"  # the newest that Debian's reference speaks
KILLED, ENDED_WELL, ENDED_BADLY = 200, 201, 202
SCENARIOS = scenario.every()
# Under an emulated processor only some of the system calls are tried, others in each run.
STRIDE = int(os.environ.get("CULVERT_MATRIX_STRIDE", "1"))
MAX_CALLS = 2000


def cells():
    for name, one in SCENARIOS.items():
        for verb in VERBS:
            yield pytest.param(name, verb, id=f"{name}-{verb}",
                               marks=[pytest.mark.vm if one.kernel else pytest.mark.netns])


every_cell = pytest.mark.parametrize("plugin, verb", list(cells()))


@pytest.fixture
def open_stage(tmp_path):
    netns.empty_folders()
    opened = []

    def make(plugin, **given):
        chosen = SCENARIOS[plugin]
        missing = scenario.kinds_of(chosen.kernel)
        if missing:
            pytest.skip(f"this kernel has no {', '.join(missing)}; run in the virtual machine")
        opened.append(Stage(chosen, tmp_path / f"stage{len(opened)}", **given))
        return opened[-1]
    yield make
    for stage in opened:
        stage.close()


# --- side by side with the reference --------------------------------------------------------------

@every_cell
def test_side_by_side(plugin, verb, open_stage):
    if verb in ("GC", "STATUS", "VERSION"):
        NEWER_VERBS[verb](SCENARIOS[plugin], open_stage(plugin))
        return
    chosen = SCENARIOS[plugin]
    ours = open_stage(plugin, version=DEBIANS_VERSION)
    theirs = open_stage(plugin, version=DEBIANS_VERSION, plugins=REFERENCE if chosen.has_reference else OURS)
    SIDE_BY_SIDE[verb](chosen, ours, theirs)


def kernel_differences(chosen, ours, theirs):
    """What nobody has declared, in settled snapshots of both hosts and both first containers."""
    spaces = [ours.host, ours.attachments[0].container, theirs.host, theirs.attachments[0].container]
    taken = snapshot.settled_all(spaces, chosen.macs)
    found = [f"{place}: {line}" for i, place in enumerate(("host", "container"))
             for line in snapshot.difference(taken[i], taken[i + 2], "ours", "reference")]
    patterns = [pattern for pattern, _ in (*side_by_side.DELIBERATE, *chosen.deliberate)]
    return [line for line in found if not any(fnmatch.fnmatch(line, pattern) for pattern in patterns)]


def side_add(chosen, ours, theirs):
    attachments = [stage.attach() for stage in (ours, theirs)]
    for attachment in attachments:
        attachment.add()
    results = [attachment.plain_result(chosen.result_not_compared) for attachment in attachments]
    assert results[0] == results[1]
    assert kernel_differences(chosen, ours, theirs) == []


def side_del(chosen, ours, theirs):
    """After DEL ours is as it was before ADD, and nothing is there that the reference would have removed."""
    attachments = [stage.attach() for stage in (ours, theirs)]
    before = [stage.state() for stage in (ours, theirs)]
    for attachment in attachments:
        attachment.add()
        attachment.delete().expect_ok()
        again = attachment.delete()
        if attachment.stage is ours or chosen.reference_deletes_twice:
            again.expect_ok()
    assert left(chosen, before[0], ours.state()) == []


def side_check(chosen, ours, theirs):
    """Good: both say so. Broken: ours says so, and the reference too where it looks."""
    attachments = [stage.attach() for stage in (ours, theirs)]
    for attachment in attachments:
        attachment.add()
    attachments[0].run("CHECK").expect_ok()
    if chosen.reference_check_works:
        attachments[1].run("CHECK").expect_ok()
    for stage, attachment in zip((ours, theirs), attachments):
        chosen.damage(stage, attachment)
    attachments[0].run("CHECK").expect_error()
    if chosen.reference_check_works and chosen.reference_check_fails_when_broken:
        attachments[1].run("CHECK").expect_error()


def refuses(stage, attachment, verb):
    """Debian's reference does not know the verb, so that no runtime can have relied on what it does."""
    outcome = cni.execute(stage.host, REFERENCE, stage.scenario.plugin, verb, attachment.config(DEBIANS_VERSION), attachment.cid,
                          attachment.netns, attachment.ifname)
    outcome.expect_error(4, "unknown CNI_COMMAND")


def side_gc(chosen, stage):
    """Newer references do nothing and report success. Ours does it."""
    attachment = stage.attach()
    before = stage.state()
    attachment.add()
    if chosen.has_reference:
        refuses(stage, attachment, "GC")
    stage.gc([]).expect_ok()
    assert left(chosen, before, stage.state(), after_gc=True) == []


def side_status(chosen, stage):
    attachment = stage.attach()
    if chosen.has_reference:
        refuses(stage, attachment, "STATUS")
    stage.run("STATUS", attachment.config()).expect_ok()


def side_version(chosen, stage):
    """All that the reference supports and 1.1.0, from the same oldest version on."""
    ours = cni.execute(stage.host, OURS, chosen.plugin, "VERSION", b"{}").expect_ok().json["supportedVersions"]
    if chosen.has_reference:
        theirs = cni.execute(stage.host, REFERENCE, chosen.plugin, "VERSION", b"{}").expect_ok().json["supportedVersions"]
        assert [*theirs, "1.1.0"] == ours
    assert ours[0] == chosen.oldest and ours[-1] == "1.1.0"


SIDE_BY_SIDE = {"ADD": side_add, "DEL": side_del, "CHECK": side_check}
NEWER_VERBS = {"GC": side_gc, "STATUS": side_status, "VERSION": side_version}


# --- kill -9 at every system call -----------------------------------------------------------------

class Killer:
    """Runs a verb of one attachment and kills it at its Nth system call."""

    def __init__(self, stage, tools):
        self.stage, self.tools, self.report = stage, tools, stage.folder / "report"

    def run(self, attachment, verb, n, config=None):
        """False once the verb has ended by itself before its Nth call."""
        wrapper = [f"{self.tools}/killat", "-o", str(self.report), str(n)]
        outcome = attachment.run(verb, config, wrapper)
        where = self.report.read_text().strip()
        self.report.unlink()
        assert outcome.rc in (KILLED, ENDED_WELL), f"{verb} failed by itself ({where}): {outcome}"
        self.where = f"{verb} {where}"
        return outcome.rc == KILLED

    def at_every_call(self, step, stride=STRIDE):
        """step(n) for n = 1, 1 + stride, ... until it says that the plugin ended by itself."""
        n = 1 + (os.getpid() % stride if stride > 1 else 0)
        while step(n):
            n += stride
            assert n < MAX_CALLS, "a plugin that makes so many system calls does something else"
        assert n > 3, "the plugin did nothing"


@every_cell
def test_crash(plugin, verb, open_stage, tools):
    stage = open_stage(plugin)
    CRASH[verb](stage, stage.attach(), Killer(stage, tools))


def crash_add(stage, attachment, killer):
    before = stage.state()

    def step(n):
        killed = killer.run(attachment, "ADD", n)
        attachment.run("DEL", attachment.config(previous=attachment.previous if n % 2 else None)).expect_ok()
        assert left(stage.scenario, before, stage.state()) == [], f"{killer.where}, then DEL"
        return killed
    killer.at_every_call(step)
    attachment.add()


def crash_del(stage, attachment, killer):
    before = stage.state()

    def step(n):
        attachment.add()
        killed = killer.run(attachment, "DEL", n, attachment.config(previous=attachment.result if n % 2 else None))
        attachment.delete(with_result=n % 4 < 2).expect_ok()
        assert left(stage.scenario, before, stage.state()) == [], f"{killer.where}, then DEL"
        return killed
    killer.at_every_call(step)


def crash_gc(stage, attachment, killer):
    before = stage.state()

    def step(n):
        attachment.add()
        killed = killer.run(attachment, "GC", n, {**attachment.config(), "cni.dev/valid-attachments": []})
        stage.gc([]).expect_ok()
        assert left(stage.scenario, before, stage.state(), after_gc=True) == [], f"{killer.where}, then GC"
        return killed
    killer.at_every_call(step, 2 * STRIDE)


def crash_reading(verb):
    """CHECK, STATUS and VERSION change nothing, killed or not."""
    def crash(stage, attachment, killer):
        idle = verb == "STATUS" and stage.scenario.exclusive
        if not idle:
            attachment.add()
        before = stage.state()

        def step(n):
            killed = killer.run(attachment, verb, n)
            assert left(stage.scenario, before, stage.state()) == [], killer.where
            return killed
        killer.at_every_call(step, 3 * STRIDE)
        if idle:
            attachment.add()
        attachment.run("CHECK").expect_ok()
    return crash


CRASH = {"ADD": crash_add, "DEL": crash_del, "GC": crash_gc, **{v: crash_reading(v) for v in ("CHECK", "STATUS", "VERSION")}}


# --- garbage collection ---------------------------------------------------------------------------

@every_cell
def test_gc(plugin, verb, open_stage, tools):
    stage = open_stage(plugin)
    COLLECT[verb](stage, stage.attach(), Killer(stage, tools))


def collect_after_killed(verb):
    """What an ADD or DEL that was killed has left goes with the next GC."""
    def collect(stage, attachment, killer):
        before = stage.state()

        def step(n):
            if verb == "DEL":
                attachment.add()
            killed = killer.run(attachment, verb, n)
            stage.gc([]).expect_ok()
            assert left(stage.scenario, before, stage.state(), after_gc=True) == [], f"{killer.where}, then GC"
            return killed
        killer.at_every_call(step, 2 * STRIDE)
    return collect


def collect_check(stage, attachment, _):
    """GC leaves what is valid alone: CHECK says so, and so does the kernel."""
    attachment.add()
    before = stage.state()
    stage.gc([attachment]).expect_ok()
    assert left(stage.scenario, before, stage.state()) == []
    attachment.run("CHECK").expect_ok()


def collect_gc(stage, stale, _):
    """The stale one goes, its valid neighbour stays; no list at all collects nothing."""
    valid = stage.attach()
    valid.add()
    before = stage.state()
    stale.add()
    both = stage.state()
    stage.gc(None).expect_ok()
    assert left(stage.scenario, both, stage.state()) == []
    stage.gc([valid]).expect_ok()
    assert left(stage.scenario, before, stage.state(), after_gc=True) == []
    valid.run("CHECK").expect_ok()
    stage.gc([valid]).expect_ok()


def collect_status(stage, attachment, _):
    """A network that was just emptied is ready for the next container."""
    attachment.add()
    stage.gc([]).expect_ok()
    stage.run("STATUS", attachment.config()).expect_ok()
    attachment.add()


def collect_version(stage, attachment, _):
    """GC came with 1.1.0: VERSION says that, and an older network is not collected."""
    said = cni.execute(stage.host, OURS, stage.scenario.plugin, "VERSION", b"{}").expect_ok().json
    assert "1.1.0" in said["supportedVersions"] and said["cniVersion"] == "1.1.0"
    attachment.add()
    before = stage.state()
    stage.gc([], DEBIANS_VERSION).expect_error(1, "GC")
    assert left(stage.scenario, before, stage.state()) == []


COLLECT = {"ADD": collect_after_killed("ADD"), "DEL": collect_after_killed("DEL"), "CHECK": collect_check,
           "GC": collect_gc, "STATUS": collect_status, "VERSION": collect_version}


# --- hostile input --------------------------------------------------------------------------------

@every_cell
def test_hostile(plugin, verb, open_stage):
    stage = open_stage(plugin)
    HOSTILE[verb](stage, stage.attach())


def survives(outcome):
    """Success or a proper error; never a signal, an abort, a sanitiser, or half a document."""
    return outcome.ok or bool(outcome.expect_error())


def hostile_add(stage, attachment):
    """Refused without a trace, or taken and then removable."""
    before = stage.state()
    for what, config, changes in hostile.requests(attachment, "ADD"):
        outcome = attachment.run("ADD", config, **changes)
        survives(outcome)
        if outcome.ok:
            attachment.run("DEL", config, **changes)
            attachment.run("DEL", attachment.config()).expect_ok()
        assert left(stage.scenario, before, stage.state()) == [], what
    attachment.add()


def hostile_del(stage, attachment):
    """Whatever it is given, it does not fall over; the next, honest DEL finds the rest."""
    before = stage.state()
    for what, config, changes in hostile.requests(attachment, "DEL"):
        if not attachment.result:
            attachment.add()
        survives(attachment.run("DEL", config, **changes))
        if left(stage.scenario, before, stage.state()) == []:
            attachment.result = None
    if attachment.result:
        attachment.delete(with_result=False).expect_ok()
    assert left(stage.scenario, before, stage.state()) == []


def hostile_check(stage, attachment):
    attachment.add()
    before = stage.state()
    for what, config, changes in hostile.requests(attachment, "CHECK"):
        survives(attachment.run("CHECK", config, **changes))
    assert left(stage.scenario, before, stage.state()) == []
    attachment.run("CHECK").expect_ok()


def hostile_gc(stage, attachment):
    """A list of valid attachments that is none deletes nothing."""
    attachment.add()
    before = stage.state()
    for valid in hostile.VALID_ATTACHMENTS:
        config = {**attachment.config(), "cni.dev/valid-attachments": valid}
        stage.run("GC", config).expect_error((6, 7))
        assert left(stage.scenario, before, stage.state()) == [], valid
    attachment.run("CHECK").expect_ok()


def hostile_status(stage, attachment):
    attachment.add()
    before = stage.state()
    for what, config, _ in hostile.requests(attachment, "STATUS"):
        survives(stage.run("STATUS", config))
    assert left(stage.scenario, before, stage.state()) == []


def hostile_version(stage, attachment):
    for document in hostile.DOCUMENTS:
        said = stage.run("VERSION", document).expect_ok().json
        assert said["supportedVersions"][-1] == "1.1.0"


HOSTILE = {"ADD": hostile_add, "DEL": hostile_del, "CHECK": hostile_check, "GC": hostile_gc, "STATUS": hostile_status,
           "VERSION": hostile_version}
