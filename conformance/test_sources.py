"""The same scenarios against every source of objects: what a listener is told adds up to the truth, whatever happens."""
import subprocess
import threading
import time

import pytest

from lib import sources
from lib.sources import Watch, obj

pytestmark = pytest.mark.netns
KINDS = sources.available()


@pytest.fixture(scope="module", autouse=True)
def loopback():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    made = KINDS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def watch(request):
    made = []

    def start(source, *words, **how):
        made.append(Watch(source.tool if hasattr(source, "tool") else source, *words, **how))
        return made[-1]
    yield start
    for each in made:
        each.close()


class TestWatching:
    def test_tells_of_everything_that_was_there_and_then_completes(self, source, watch):
        source.put(obj("a", count=1), obj("b", count=2), obj("p", "pods", ns="x", count=3))
        w = watch(source).until_complete()
        w.until_knows(a=1, b=2)
        assert w.events[-1] == ("complete", None) and w.completes == 1
        assert w.known["a"]["kind"] == "Node" and w.known["a"]["apiVersion"] == "v1"
        assert w.known["a"]["metadata"]["resourceVersion"]

    def test_tells_of_added_changed_and_removed_objects(self, source, watch):
        w = watch(source).until_complete()
        source.put(obj("a", count=1))
        w.until_knows(a=1)
        source.put(obj("a", count=2))
        w.until_knows(a=2)
        source.put(obj("b", count=1))
        source.delete(obj("a"))
        w.until_knows(b=1)
        assert [e for e in w.events if e[1] == "a"] == [("object", "a"), ("object", "a"), ("removed", "a")]

    def test_knows_namespaces(self, source, watch):
        w = watch(source, kind="pods")
        narrow = watch(source, "-n", "x", kind="pods")
        if source.name == "kube-apiserver":
            source.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
            pytest.skip("pods of the real server need more than a spec.count")
        source.put(obj("a", "pods", ns="x", count=1), obj("a", "pods", ns="y", count=2))
        w.until_knows(**{"x/a": 1, "y/a": 2})
        narrow.until_knows(**{"x/a": 1})

    def test_a_label_that_goes_is_an_object_removed(self, source, watch):
        source.put(obj("a", labels={"role": "edge"}, count=1), obj("b", count=2))
        w = watch(source, "-l", "role in (edge, core)").until_complete()
        w.until_knows(a=1)
        source.put(obj("b", labels={"role": "core"}, count=2), obj("a", labels={"role": "other"}, count=1))
        w.until_knows(b=2)

    def test_one_object_by_name(self, source, watch):
        source.put(obj("a", count=1), obj("b", count=2))
        w = watch(source, "-f", "metadata.name=b").until_complete()
        w.until_knows(b=2)
        source.put(obj("a", count=5), obj("b", count=6))
        w.until_knows(b=6)

    def test_a_thousand_objects(self, source, watch):
        source.put(*[obj(f"n{i:04}", count=i) for i in range(1203)])
        w = watch(source).until_complete()
        assert len(w.known) == 1203 and w.completes == 1
        assert len([e for e in w.events if e[0] == "object"]) == 1203
        assert len(source.tool.run("list", "nodes")[1]) == 1203

    def test_after_an_outage_only_differences_are_told(self, source, watch):
        source.put(*[obj(f"n{i}", count=i) for i in range(20)])
        w = watch(source).until_complete()
        source.stop()
        w.until(lambda w: w.status["state"] == "stale")
        assert w.status["error"]
        assert w.quiet() == []
        source.start()
        w.until(lambda w: w.status["state"] == "live")
        assert w.quiet(1) == []
        source.put(obj("n3", count=33))
        w.until(lambda w: w.known["n3"]["spec"]["count"] == 33)

    def test_a_source_that_comes_late(self, source, watch):
        source.put(obj("a", count=1))
        source.stop()
        w = watch(source)
        w.until(lambda w: w.status.get("state") == "connecting" and w.status["error"])
        assert w.events == []
        source.start()
        w.until_complete().until_knows(a=1)


class TestWriting:
    def test_create_get_update_patch_and_remove(self, source, watch):
        tool = source.tool
        w = watch(source).until_complete()
        made = tool.one("create", "nodes", stdin=obj("a", count=1))
        assert made["spec"] == {"count": 1} and made["metadata"]["resourceVersion"]
        w.until_knows(a=1)
        assert tool.one("get", "nodes", "a")["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        made["spec"]["count"] = 2
        updated = tool.one("update", "nodes", stdin=made)
        assert updated["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        w.until_knows(a=2)
        patched = tool.one("patch", "nodes", "a", '{"metadata": {"annotations": {"x": "y"}}, "spec": {"count": null, "other": 1}}')
        assert patched["spec"] == {"other": 1} and patched["metadata"]["annotations"] == {"x": "y"}
        w.until(lambda w: w.known["a"]["spec"] == {"other": 1})
        assert tool.run("remove", "nodes", "a") == (0, [])
        w.until_knows()

    def test_errors_say_what_can_be_done(self, source):
        tool = source.tool
        made = tool.one("create", "nodes", stdin=obj("a", count=1))
        assert tool.one("create", "nodes", stdin=obj("a", count=2))["error"] == "alreadyExists"
        assert tool.one("get", "nodes", "none")["error"] == "notFound"
        assert tool.one("patch", "nodes", "none", "{}")["error"] == "notFound"
        assert tool.one("remove", "nodes", "none")["error"] == "notFound"
        assert tool.one("update", "nodes", stdin=obj("a", count=3))["error"] == "invalid"
        tool.one("update", "nodes", stdin=made | {"spec": {"count": 4}})
        assert tool.one("update", "nodes", stdin=made | {"spec": {"count": 5}})["error"] == "conflict"
        assert tool.one("remove", "nodes", "a", made["metadata"]["resourceVersion"])["error"] == "conflict"
        gone = {**obj("none"), "metadata": {"name": "none", "resourceVersion": "1"}}
        assert tool.one("update", "nodes", stdin=gone)["error"] == "notFound"
        assert tool.one("get", "nodes", "a")["spec"]["count"] == 4

    def test_a_source_that_is_away_is_worth_another_try(self, source):
        source.stop()
        assert source.tool.one("create", "nodes", stdin=obj("a"))["error"] == "tryAgain"

    def test_writers_that_race_lose_no_update(self, source):
        source.tool.one("create", "ippools" if source.name != "kube-apiserver" else "nodes", stdin=obj(
            "a", "ippools" if source.name != "kube-apiserver" else "nodes", count=0))
        kind = "ippools" if source.name != "kube-apiserver" else "nodes"
        writers = [threading.Thread(target=lambda: [source.tool.increment(kind, "a") for _ in range(10)]) for _ in range(4)]
        [t.start() for t in writers], [t.join() for t in writers]
        assert source.tool.one("get", kind, "a")["spec"]["count"] == 40

    def test_of_many_creates_exactly_one_wins(self, source):
        answers = []
        writers = [threading.Thread(target=lambda i=i: answers.append(source.tool.one("create", "nodes", stdin=obj("a", count=i))))
                   for i in range(8)]
        [t.start() for t in writers], [t.join() for t in writers]
        assert sorted(a.get("error", "won") for a in answers) == ["alreadyExists"] * 7 + ["won"]
        winner = next(a for a in answers if "error" not in a)
        assert source.tool.one("get", "nodes", "a")["spec"] == winner["spec"]

    def test_status_is_patched_apart(self, source):
        source.put(obj("a", count=1))
        source.tool.one("--subresource", "status", "patch", "nodes", "a", '{"status": {"phase": "Running"}}')
        now = source.tool.one("get", "nodes", "a")
        assert now["status"]["phase"] == "Running" and now["spec"]["count"] == 1


class TestBrokenObjects:
    @pytest.fixture(params=["dir", "etcd"])
    def source(self, request, tmp_path):
        made = KINDS[request.param](tmp_path)
        yield made
        made.close()

    def test_the_last_good_object_stays_until_it_is_whole_again(self, source, watch):
        source.put(obj("a", count=1), obj("b", count=1))
        w = watch(source).until_complete()
        source.malformed(obj("a"))
        w.until(lambda w: w.status["problems"])
        assert "keeping the last good" in w.status["problems"][0]
        assert w.quiet() == [] and len(w.known) == 2
        source.put(obj("a", count=2))
        w.until_knows(a=2, b=1).until(lambda w: not w.status["problems"])
        source.malformed(obj("a"))
        w.until(lambda w: w.status["problems"])
        source.delete(obj("a"))
        w.until_knows(b=1).until(lambda w: not w.status["problems"])


class TestOutageWithChanges:
    def test_changes_made_meanwhile_in_a_folder(self, tmp_path, watch):
        source = sources.Dir(tmp_path)
        source.put(*[obj(f"n{i}", count=i) for i in range(5)])
        w = watch(source).until_complete()
        source.stop()
        w.until(lambda w: w.status["state"] == "stale")
        source.put_away(obj("n1", count=11), obj("new", count=1))
        source.delete_away(obj("n2"))
        before = len(w.events)
        source.start()
        w.until_knows(n0=0, n1=11, n3=3, n4=4, new=1)
        assert sorted(w.events[before:]) == [("object", "n1"), ("object", "new"), ("removed", "n2")]

    @pytest.mark.parametrize("kind", [k for k in KINDS if k != "dir"])
    def test_changes_made_behind_a_frozen_reader(self, kind, tmp_path, watch):
        """The reader sleeps while its stream ends and its version is compacted away."""
        source = KINDS[kind](tmp_path)
        try:
            source.put(*[obj(f"n{i}", count=i) for i in range(5)])
            w = watch(source).until_complete()
            w.process.send_signal(19)
            source.put(obj("n1", count=11), obj("new", count=1))
            source.delete(obj("n2"))
            source.compact()
            source.stop(), source.start()
            w.process.send_signal(18)
            w.until_knows(n0=0, n1=11, n3=3, n4=4, new=1)
            assert ("removed", "n0") not in w.events and w.completes == 1
        finally:
            source.close()


class TestKubernetes:
    """What only an API server can do to its clients."""

    @pytest.fixture
    def source(self, tmp_path):
        made = sources.Kubernetes(tmp_path)
        yield made
        made.close()

    def paths(self, source):
        return [path for _, path in source.api.control("requests")]

    def test_a_cut_stream_is_resumed_and_not_listed_again(self, source, watch):
        source.put(obj("a", count=1))
        w = watch(source).until_complete()
        self.paths(source)
        for count in range(2, 5):
            source.api.control("cut")
            source.put(obj("a", count=count))
            w.until_knows(a=count)
        assert all("watch=1" in path for path in self.paths(source) if path.startswith("/api/v1/nodes?"))

    def test_bookmarks_keep_the_version_fresh_across_compaction(self, source, watch):
        source.api.control("bookmarks", seconds=0.1)
        source.put(obj("a", count=1))
        w = watch(source).until_complete()
        source.put(obj("p", "pods", ns="x"))
        assert w.quiet(1.5) == []
        self.paths(source)
        source.compact(), source.api.control("cut")
        source.put(obj("a", count=2))
        w.until_knows(a=2)
        assert not [p for p in self.paths(source) if "limit=" in p], "a bookmark should have spared the list"

    def test_410_within_a_stream_lists_again_and_tells_differences(self, source, watch):
        source.api.control("bookmarks", seconds=1000)
        source.put(obj("a", count=1), obj("b", count=1))
        w = watch(source).until_complete()
        source.put(obj("p", "pods", ns="x"))
        source.compact()
        source.put(obj("b", count=2))
        w.until_knows(a=1, b=2)
        assert [e for e in w.events if e[1] == "a"] == [("object", "a")]

    def test_a_list_whose_pages_expire_is_begun_again(self, source, watch):
        source.put(*[obj(f"n{i:04}", count=i) for i in range(1200)])
        source.api.control("slow", bytes=4000, seconds=0.01)
        w = watch(source)
        w.until(lambda w: len(w.known) > 50)
        source.compact()
        source.api.control("slow", bytes=0, seconds=0)
        w.until_complete()
        assert len(w.known) == 1200
        assert len([e for e in w.events if e[0] == "object"]) == 1200
        assert any("limit=0" in path for path in self.paths(source))

    def test_a_slow_stream_in_pieces_of_one_byte(self, source, watch):
        source.put(obj("a", count=1))
        source.api.control("slow", bytes=1, seconds=0)
        w = watch(source).until_complete()
        source.put(obj("a", count=2))
        w.until_knows(a=2)

    @pytest.mark.parametrize("code", [429, 503])
    def test_retry_after_is_respected(self, source, watch, code):
        source.api.control("fail", code=code, retryAfter=2, times=1, path="/nodes")
        w = watch(source).until_complete()
        asked = [p for p in self.paths(source) if p.startswith("/api/v1/nodes?")]
        assert len([p for p in asked if "limit=" in p]) == 2, asked
        assert w.completes == 1

    def test_watches_end_and_go_on(self, source, watch):
        tool = source.tool_with({"token": "the-token"}, watchSeconds=1)
        source.put(obj("a", count=1))
        w = watch(tool).until_complete()
        assert w.quiet(4) == []
        assert w.status["state"] == "live"
        asked = [p for p in self.paths(source) if p.startswith("/api/v1/nodes?")]
        assert len([p for p in asked if "limit=" in p]) == 1 and len([p for p in asked if "watch=1" in p]) >= 2
        source.put(obj("a", count=2))
        w.until_knows(a=2)

    def test_a_stream_that_goes_silent_is_given_up(self, source, watch):
        tool = source.tool_with({"token": "the-token"}, watchSeconds=1)
        w = watch(tool).until_complete()
        source.api.control("stall")
        source.put(obj("a", count=1))
        w.until(lambda w: "no answer in time" in w.status["error"], patience=40)
        assert w.status["state"] == "stale" and w.events == [("complete", None)]
        source.api.control("resume")
        w.until_knows(a=1)

    def test_a_token_file_is_read_again_when_it_is_refused(self, source, watch, tmp_path):
        token = tmp_path / "token"
        token.write_text("the-token\n")
        tool = source.tool_with({"tokenFile": str(token)})
        w = watch(tool).until_complete()
        source.api.control("token", token="another")
        source.api.token = "another"
        token.write_text("another\n")
        source.api.control("cut")
        source.put(obj("a", count=1))
        w.until_knows(a=1)

    def test_an_exec_plugin_says_who_we_are(self, source, tmp_path):
        plugin = tmp_path / "plugin"
        plugin.write_text("""#!/bin/sh
echo run >> "$LOG"
echo "$KUBERNETES_EXEC_INFO" > "$LOG.info"
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status":
       {"token": "the-token", "expirationTimestamp": "2100-01-01T00:00:00Z"}}'
""")
        plugin.chmod(0o755)
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never",
                         "provideClusterInfo": True, "env": [{"name": "LOG", "value": str(tmp_path / "log")}]}}
        source.tool.one("create", "ippools", stdin=obj("a", "ippools"))
        watch = sources.Watch(source.tool_with(user), kind="ippools").until_complete()
        watch.close()
        assert (tmp_path / "log").read_text() == "run\n", "its answer should be kept until it expires"
        assert source.api.url in (tmp_path / "log.info").read_text()
        user["exec"]["command"] = "/bin/false"
        assert "exec plug-in failed" in source.tool_with(user).one("get", "nodes", "a")["message"]

    def test_client_certificates(self, source, tmp_path):
        certificate, key = source.authority.issue("me", usage="clientAuth")
        source.put(obj("a", count=1))
        tool = source.tool_with({"client-certificate": certificate, "client-key": key})
        assert tool.one("get", "nodes", "a")["spec"]["count"] == 1
        refused = source.tool_with({"token": "wrong"}).one("get", "nodes", "a")
        assert refused["error"] == "io" and "401" in refused["message"]

    def test_a_server_that_is_another_is_refused(self, source, tmp_path, watch):
        from lib import api_server
        other = tmp_path / "other"
        other.mkdir()
        tool = source.tool_with({"token": "the-token"}, authority=api_server.Authority(str(other)))
        answer = tool.one("get", "nodes", "a")
        assert answer["error"] == "io" and "certificate was refused" in answer["message"]
        w = watch(tool)
        w.until(lambda w: "certificate was refused" in w.status.get("error", ""))
        assert w.events == [] and "/api/v1/nodes" not in " ".join(self.paths(source))
        elsewhere = source.tool_with({"token": "the-token"}, server=source.api.url.replace("127.0.0.1", "127.0.0.2"))
        assert elsewhere.one("get", "nodes", "a")["error"] in ("io", "tryAgain")

    def test_a_name_that_the_certificate_does_not_have_is_refused(self, tmp_path):
        from lib import api_server, kube_api
        authority = api_server.Authority(str(tmp_path))
        source = sources.Kubernetes(tmp_path, certificate=authority.issue("x", "DNS:elsewhere,IP:198.18.0.1"))
        source.authority = authority
        try:
            answer = source.tool_with({"token": kube_api.TOKEN}).one("get", "nodes", "a")
            assert answer["error"] == "io" and "certificate was refused" in answer["message"]
        finally:
            source.close()

    def test_ipv6(self, tmp_path):
        source = sources.Kubernetes(tmp_path, address="::1")
        try:
            source.put(obj("a", count=1))
            assert source.tool.one("get", "nodes", "a")["spec"]["count"] == 1
        finally:
            source.close()

    def test_five_thousand_nodes(self, source, watch):
        for at in range(0, 5000, 500):
            source.put(*[obj(f"n{i:04}", count=i) for i in range(at, at + 500)])
        w = watch(source).until_complete()
        assert len(w.known) == 5000 and w.completes == 1
        source.put(obj("n4999", count=-1))
        w.until(lambda w: w.known["n4999"]["spec"]["count"] == -1)


class TestEtcd:
    def test_members_that_are_away_are_passed_over(self, tmp_path, watch):
        source = sources.Etcd(tmp_path)
        try:
            dead = f"http://127.0.0.1:{sources.free_port()}"
            tool = sources.Tool({"type": "etcd", "etcd": source.config | {"endpoints": [dead, source.url]}}, tmp_path)
            source.put(obj("a", count=1))
            w = watch(tool).until_complete()
            assert tool.one("patch", "nodes", "a", '{"spec": {"count": 2}}')["spec"]["count"] == 2
            w.until_knows(a=2)
        finally:
            source.close()

    def test_tls_with_client_certificates(self, tmp_path):
        from lib import api_server
        authority = api_server.Authority(str(tmp_path))
        server, me = authority.issue("server", "IP:127.0.0.1", usage="serverAuth,clientAuth"), authority.issue("me", usage="clientAuth")
        source = sources.Etcd(tmp_path, tls=(*server, authority.certificate, *me))
        try:
            files = {"caFile": authority.certificate, "certFile": me[0], "keyFile": me[1]}
            source.put(obj("a", count=1))
            tool = sources.Tool({"type": "etcd", "etcd": source.config | files}, tmp_path)
            assert tool.one("get", "nodes", "a")["spec"]["count"] == 1
            (tmp_path / "other").mkdir()
            other = api_server.Authority(str(tmp_path / "other"))
            wrong = sources.Tool({"type": "etcd", "etcd": source.config | files | {"caFile": other.certificate}}, tmp_path)
            answer = wrong.one("get", "nodes", "a")
            assert answer["error"] == "io" and "certificate was refused" in answer["message"]
        finally:
            source.close()

    def test_a_member_that_is_frozen_is_noticed(self, tmp_path, watch):
        source = sources.Etcd(tmp_path)
        try:
            w = watch(source).until_complete()
            source.process.send_signal(19)
            w.until(lambda w: w.status["state"] == "stale", patience=60)
            source.process.send_signal(18)
            source.put(obj("a", count=1))
            w.until_knows(a=1)
        finally:
            source.close()

    def test_a_lease_lives_while_its_holder_does(self, tmp_path):
        source = sources.Etcd(tmp_path)
        key = "/culvert/coordination.k8s.io/leases/nodes/a"

        def stored():
            return source.etcdctl("get", "--print-value-only", key)

        def hold():
            process = subprocess.Popen(source.tool.command("lease", "nodes/a", "5"), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            assert process.stdout.readline() == '{"held":true}\n'
            return process
        try:
            holder = hold()
            assert '"holderIdentity":"tool"' in stored()
            time.sleep(7)
            assert stored(), "it should have been kept alive"
            source.etcdctl("lease", "revoke", source.etcdctl("lease", "list").split()[-1])
            assert not stored()
            
            def is_back():
                assert stored()
            sources.eventually(is_back)
            holder.communicate("")
            assert not stored(), "it should have been given back"
            holder = hold()
            holder.kill(), holder.communicate()
            assert stored()

            def is_gone():
                assert not stored()
            sources.eventually(is_gone)
        finally:
            source.close()

    def test_users_and_passwords(self, tmp_path, watch):
        source = sources.Etcd(tmp_path)
        try:
            source.put(obj("a", count=1))
            for words in (["user", "add", "root:secret"], ["role", "add", "root"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
                source.etcdctl(*words)
            source.client_flags = ["--user", "root:secret"]
            assert source.tool.one("get", "nodes", "a")["error"] == "io"
            (tmp_path / "password").write_text("secret\n")
            user = {"username": "root", "passwordFile": str(tmp_path / "password")}
            tool = sources.Tool({"type": "etcd", "etcd": source.config | user}, tmp_path)
            w = watch(tool).until_complete()
            assert tool.one("patch", "nodes", "a", '{"spec": {"count": 2}}')["spec"]["count"] == 2
            w.until_knows(a=2)
            source.stop(), source.start()  # it forgets its tokens
            source.put(obj("a", count=3))
            w.until_knows(a=3)
            (tmp_path / "password").write_text("wrong\n")
            assert tool.one("get", "nodes", "a")["error"] == "io"
        finally:
            source.close()


class TestDir:
    @pytest.fixture
    def source(self, tmp_path):
        made = sources.Dir(tmp_path)
        self.path = tmp_path / "objects"
        return made

    def test_yaml_of_many_documents_and_lists(self, source, watch):
        w = watch(source).until_complete()
        (self.path / "all.yaml").write_text("""# two, and a list
apiVersion: v1
kind: Node
metadata: {name: a}
spec: {count: 1}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: "b"}, spec: {count: 2}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: ignored}}
""")
        w.until_knows(a=1, b=2)
        (self.path / "all.yaml").unlink()
        w.until_knows()

    def test_a_broken_file_says_where(self, source, watch):
        (self.path / "a.yml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {count: 1}\n")
        w = watch(source).until_complete().until_knows(a=1)
        (self.path / "a.yml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: a\n")
        w.until(lambda w: w.status["problems"])
        assert w.status["problems"][0].startswith("a.yml:4: not YAML") and w.quiet() == []
        (self.path / "b.json").write_text('{"apiVersion": "v1",\n "kind": }')
        w.until(lambda w: len(w.status["problems"]) == 2)
        assert w.status["problems"][1].startswith("b.json:2: not valid JSON")
        (self.path / "a.yml").write_text("")
        w.until(lambda w: "a.yml:1: empty" in w.status["problems"][0])
        assert "a" in w.known

    def test_of_an_object_in_two_files_the_first_by_name_counts(self, source, watch):
        w = watch(source).until_complete()
        for name, count in (("b.yaml", 2), ("a.yaml", 1)):
            (self.path / name).write_text(f"apiVersion: v1\nkind: Node\nmetadata: {{name: x}}\nspec: {{count: {count}}}\n")
        w.until_knows(x=1).until(lambda w: w.status["problems"])
        assert w.status["problems"] == ["b.yaml: Node x is in a.yaml already, which counts"]
        (self.path / "a.yaml").unlink()
        w.until_knows(x=2).until(lambda w: not w.status["problems"])

    def test_hidden_files_and_editors_temporaries_are_not_read(self, source, watch):
        w = watch(source).until_complete()
        for name in (".a.yaml", "a.yaml~", "a.yaml.swp", "a.yaml.tmp", "#a.yaml#", "README", ".#a.yaml"):
            (self.path / name).write_text("apiVersion: v1\nkind: Node\nmetadata: {name: x}\n")
        assert w.quiet() == [] and not w.status["problems"]

    def test_a_configmap_is_replaced_at_once(self, source, watch):
        def publish(version, **counts):
            folder = self.path / f"..{version}"
            folder.mkdir()
            for name, count in counts.items():
                (folder / f"{name}.yaml").write_text(
                    f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{count: {count}}}\n")
            (self.path / "..data_tmp").symlink_to(f"..{version}")
            (self.path / "..data_tmp").rename(self.path / "..data")
        publish("1", a=1, b=1)
        for name in "ab":
            (self.path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
        w = watch(source).until_complete().until_knows(a=1, b=1)
        publish("2", a=2, b=1)
        w.until_knows(a=2, b=1)

    def test_a_link_out_of_the_folder_is_not_followed(self, source, watch, tmp_path):
        (tmp_path / "secret.yaml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: x}\n")
        (self.path / "x.yaml").symlink_to(tmp_path / "secret.yaml")
        w = watch(source).until_complete()
        w.until(lambda w: w.status["problems"])
        assert not w.known and "leads out of the folder" in w.status["problems"][0]

    def test_calicos_groups_are_ours(self, source, watch):
        w = watch(source, kind="ippools").until_complete()
        (self.path / "pool.yaml").write_text("apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {count: 1}\n")
        w.until_knows(p=1)
        assert w.known["p"]["apiVersion"] == "culvert.dev/v1"

    def test_an_operators_file_is_overlaid_and_never_edited(self, source, watch):
        text = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {count: 1, other: 2}\n"
        (self.path / "a.yaml").write_text(text)
        w = watch(source).until_complete()
        source.tool.one("patch", "nodes", "a", '{"spec": {"count": null}, "metadata": {"annotations": {"x": "y"}}}')
        w.until(lambda w: w.known["a"]["spec"] == {"other": 2} and w.known["a"]["metadata"]["annotations"] == {"x": "y"})
        assert (self.path / "a.yaml").read_text() == text
        (self.path / "a.yaml").write_text(text.replace("other: 2", "other: 3"))
        w.until(lambda w: w.known["a"]["spec"] == {"other": 3} and w.known["a"]["metadata"]["annotations"] == {"x": "y"})
        refused = source.tool.one("remove", "nodes", "a")
        assert refused["error"] == "io" and "a.yaml" in refused["message"]
        source.tool.one("patch", "nodes", "a", '{"spec": {"count": 1}, "metadata": {"annotations": null}}')
        assert sorted(p.name for p in self.path.iterdir()) == [".culvert.lock", "a.yaml"]

    def test_names_cannot_lead_out_of_the_folder(self, source):
        assert source.tool.one("create", "nodes", stdin=obj("../x"))["error"] == "invalid"
        assert source.tool.one("create", "nodes", stdin=obj(""))["error"] == "invalid"

    def test_more_events_than_the_kernel_keeps(self, source, watch):
        w = watch(source).until_complete()
        w.process.send_signal(19)
        with open("/proc/sys/fs/inotify/max_queued_events") as f:
            rounds = int(f.read()) // 3 + 100
        source.put(obj("a", count=1))
        for i in range(rounds):  # create, close and delete: three events each
            (self.path / f"x{i % 2}").write_text("")
            (self.path / f"x{i % 2}").unlink()
        source.put(obj("a", count=2), obj("b", count=1))
        w.process.send_signal(18)
        w.until_knows(a=2, b=1)

    def test_a_folder_that_cannot_be_written_to(self, source, tmp_path):
        subprocess.run(["mount", "--bind", "-o", "ro", self.path, self.path], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", self.path], check=True)
        try:
            answer = source.tool.one("create", "nodes", stdin=obj("a"))
            assert answer["error"] == "io" and "cannot write to the folder" in answer["message"]
        finally:
            subprocess.run(["umount", self.path], check=True)
