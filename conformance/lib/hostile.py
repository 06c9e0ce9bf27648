"""Input that nobody sends by accident, made from a configuration that works."""
import copy
import json

DOCUMENTS = [b"", b"null", b"[]", b"{", b"\0" * 4096, b'{"cniVersion": "9.9.9"}', b"{" + b'"a":{' * 50_000, b"\xff\xfe{}",
             b'{"name": "' + b"a" * 200_000]
VALUES = [None, True, 0, -1, 2 ** 63, 1.5, "", "\0", "../../etc", "x" * 5000, "%s%n", "a b", [], [None], [[]], {}, {"": {}}]
VALID_ATTACHMENTS = ["all", 7, True, {}, {"containerID": "c", "ifname": "eth0"}, ["c"], [None], [[]], [{"containerID": 1, "ifname": "eth0"}],
                     [{"containerID": "c", "ifname": ["eth0"]}]]
ENVIRONMENTS = [{"cid": "../c"}, {"cid": ""}, {"cid": "-"}, {"ifname": "a/b"}, {"ifname": "x" * 16}, {"ifname": ".."}, {"ifname": ""},
                {"netns": "/etc/passwd"}, {"netns": "/no/such"}, {"netns": "relative"}, {"args": "A=B=C"}, {"args": ";;"},
                {"args": "IP=not-an-address;IgnoreUnknown=1"}, {"args": "MAC=zz;IgnoreUnknown=1"}]
# A configuration whose name or type differs is another network's or another plugin's, and none of this one's business.
KEPT = {"name", "type", "cniVersion"}


def requests(attachment, verb):
    """(what, configuration, changed environment) for one verb of one attachment."""
    good = attachment.config_for(verb)
    for document in DOCUMENTS:
        yield f"document {document[:20]!r}", document, {}
    if verb != "STATUS":
        for changes in ENVIRONMENTS:
            yield f"environment {changes}", None, changes
    for path in _paths(good):
        for value in _some_of(VALUES, path):
            yield f"{'.'.join(map(str, path))} = {json.dumps(value)[:40]}", _with(good, path, value), {}
        yield f"without {'.'.join(map(str, path))}", _with(good, path), {}


def _some_of(values, path):
    """A third of the values for each key, other ones for its neighbours; every value many times in all."""
    start = sum(map(ord, "".join(map(str, path)))) % 3
    return values[start::3]


def _paths(value, path=()):
    """Every key and list index, two levels into prevResult and all of the rest."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if not path and key in KEPT:
            continue
        yield (*path, key)
        if path[:1] != ("prevResult",) or len(path) < 3:
            yield from _paths(inner, (*path, key))


_ABSENT = object()


def _with(config, path, value=_ABSENT):
    changed = copy.deepcopy(config)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is _ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed
