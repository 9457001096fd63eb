"""The execution module and its states through Salt's own loader."""

from __future__ import annotations

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

FIRST = docker_image([Layer("first", 40_000)])
SECOND = docker_image([Layer("second", 40_000)])
STATES = {
    "mirror.sls": (
        "Images are in step with upstream:\n  registry_sync.synced: []\n"
        "Registry serves images:\n  registry_sync.serving: []\n"
    )
}


def images(*names):
    return [{"name": name, "tags": ["1"]} for name in names]


@pytest.fixture
def mirrored(upstream, local, make_minion):
    """Return a function that makes a minion whose pillar mirrors between the two registries."""

    def make(*names, **pillar):
        data = {"docker_registry": pillar_of(upstream, local, images(*names), **pillar)}
        minion = make_minion(pillar=data, states=STATES)
        assert minion.sync().retcode == 0
        return minion

    push(upstream.url, "a/b", "1", FIRST)
    return make


def results(answer):
    return {
        state["__id__"]: (state["result"], state["comment"], state["changes"])
        for state in answer.value.values()
    }


def test_return_codes_tell_lag_step_and_failure(mirrored, upstream, local):
    minion = mirrored("a/b")
    lagging = minion.call("registry_sync.check")
    assert (lagging.retcode, lagging.value["summary"]["missing"]) == (2, 1)
    planned = minion.call("registry_sync.plan")
    assert (planned.retcode, planned.value["summary"]["blobs"]) == (2, 2)
    synced = minion.call("registry_sync.sync")
    assert (synced.retcode, synced.value["images"]["a/b:1"]["status"]) == (0, "copied")
    assert minion.call("registry_sync.check").retcode == 0
    assert minion.call("registry_sync.list").value == {"a/b": {"1": FIRST.digest}}
    upstream.stop()
    failed = minion.call("registry_sync.check")
    assert failed.retcode == 1
    assert failed.value["images"]["a/b:1"]["cause"] == "network"


def test_every_key_is_always_there(mirrored):
    minion = mirrored("a/b", "not/there")
    entries = {
        "status",
        "upstream",
        "local",
        "previous",
        "bytes",
        "cause",
        "error",
        "attachments",
        "signed_by",
    }
    counts = {"current", "missing", "stale", "held", "extra", "unreadable", "copied", "failed"}
    others = {"tags", "blobs", "bytes", "blobs_copied", "blobs_mounted", "attachments", "signed", "seconds"}
    for function in ("check", "plan", "sync"):
        report = minion.call(f"registry_sync.{function}").value
        assert set(report) == {"registry", "images", "summary"}
        registry = {"url", "up", "repositories", "tags", "others", "error", "upstreams"}
        assert set(report["registry"]) == registry
        assert all(set(image) == entries for image in report["images"].values())
        assert set(report["summary"]) == counts | others


def test_the_state_foretells_does_and_then_rests(mirrored, local):
    minion = mirrored("a/b")
    changes = {"a/b:1": {"old": "", "new": FIRST.digest}}
    foretold = results(minion.apply("mirror", test=True))
    result, comment, announced = foretold["Images are in step with upstream"]
    assert (result, announced) == (None, changes)
    assert comment.startswith("Would copy 1 of 1 tag (4")
    assert foretold["Registry serves images"][0] is None
    assert digest_of(local.url, "a/b", "1") is None

    done = minion.apply("mirror")
    assert done.retcode == 0
    result, comment, made = results(done)["Images are in step with upstream"]
    assert (result, made) == (True, changes)
    assert comment.startswith("Mirrored 1 of 1 tag (4")
    assert results(done)["Registry serves images"][1] == f"{local.url} serves 1 repository, 1 tag"
    assert digest_of(local.url, "a/b", "1") == FIRST.digest

    for rest in (minion.apply("mirror"), minion.apply("mirror", test=True)):
        assert rest.retcode == 0
        assert results(rest)["Images are in step with upstream"] == (True, "All 1 tag are current", {})


def test_changes_name_the_old_digest_and_the_new(mirrored, upstream):
    minion = mirrored("a/b")
    minion.apply("mirror")
    push(upstream.url, "a/b", "1", SECOND)
    _, _, changes = results(minion.apply("mirror"))["Images are in step with upstream"]
    assert changes == {"a/b:1": {"old": FIRST.digest, "new": SECOND.digest}}


@pytest.mark.parametrize("test", [True, False])
def test_one_image_that_fails_fails_the_state_and_no_other_image(mirrored, local, test):
    answer = mirrored("not/there", "a/b").apply("mirror", test=test)
    result, comment, _ = results(answer)["Images are in step with upstream"]
    assert result is False
    assert "1 of 2 tags" in comment
    assert "not/there:1 (absent: upstream " in comment
    assert digest_of(local.url, "a/b", "1") == (None if test else FIRST.digest)


def test_sync_off_copies_nothing_and_says_what_is_there(mirrored, local):
    push(local.url, "old/image", "7", SECOND)
    minion = mirrored("a/b", sync=False)
    for answer in (minion.apply("mirror"), minion.apply("mirror", test=True)):
        assert results(answer)["Images are in step with upstream"] == (
            True,
            f"docker_registry:sync is false, nothing is copied; {local.url} holds 1 repository, "
            "0 tags in those of the list",
            {},
        )
    assert minion.call("registry_sync.sync").value["images"]["a/b:1"]["status"] == "missing"
    assert digest_of(local.url, "a/b", "1") is None


def test_before_the_registry_is_there_test_mode_plans_for_an_empty_one(mirrored, local):
    minion = mirrored("a/b")
    local.stop()
    foretold = results(minion.apply("mirror", test=True))["Images are in step with upstream"]
    assert (foretold[0], foretold[1].startswith("Would copy 1 of 1 tag")) == (None, True)
    failed = minion.apply("mirror")
    assert failed.retcode != 0
    serving = results(failed)["Registry serves images"]
    assert serving[1] == f"No registry answers at {local.url}: local {local.address}: connection refused"


def test_an_empty_registry_is_not_serving(mirrored, local):
    answer = mirrored("a/b", sync=False).apply("mirror")
    assert results(answer)["Registry serves images"] == (
        False,
        f"{local.url} answers but holds no image",
        {},
    )


def test_a_mistake_in_the_pillar_is_one_sentence(make_minion):
    minion = make_minion(pillar={"docker_registry": {"imagess": []}}, states=STATES)
    minion.sync()
    sentence = "docker_registry:imagess: unknown key; did you mean images?"
    for function in ("check", "plan", "sync", "list", "registry"):
        answer = minion.call(f"registry_sync.{function}")
        assert answer.retcode != 0
        assert sentence in answer.stdout + answer.stderr
        assert "Traceback" not in answer.stdout + answer.stderr
    applied = results(minion.apply("mirror"))
    assert {comment for _, comment, _ in applied.values()} == {sentence}


def test_what_is_switched_off_is_said_each_time(make_minion, upstream, local):
    pillar = pillar_of(upstream, local, images("a/b"))
    pillar["upstream"].update(tls=True, verify=False)
    minion = make_minion(pillar={"docker_registry": pillar}, states=STATES)
    minion.sync()
    _, comment, _ = results(minion.apply("mirror"))["Images are in step with upstream"]
    assert "Warning: upstream" in comment
    assert "verify is false" in comment


def test_a_failed_sync_does_not_keep_later_states_from_asking_a_function(mirrored, make_minion):
    gated = "Asks first:\n  test.succeed_with_changes:\n    - onlyif:\n      - fun: test.true\n"
    minion = mirrored("not/there")
    (minion.file_root / "gated.sls").write_text(STATES["mirror.sls"] + gated)
    asked = results(minion.apply("gated"))
    assert asked["Images are in step with upstream"][0] is False
    assert asked["Asks first"][2] != {}
