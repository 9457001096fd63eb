"""Who has signed what, as lines."""

from __future__ import annotations

import _registry_signatures_table as table
from support.cursor import moving, spoilt

DIGEST, CHILD = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def signature(**more):
    blank = {"subject": DIGEST, "kind": "simple", "verdict": "valid", "keys": ["redhat"], "key": "F" * 40}
    return blank | {"identity": "r.com/a:1", "time": 0, "fits": True, "reason": ""} | more


def image(accepted, *signatures, **more):
    blank = {"digest": DIGEST, "accepted": accepted, "wanted": ["redhat"], "signed_by": [], "notes": []}
    return blank | {"signatures": list(signatures), "cause": "", "error": ""} | more


def shown(images, width=0, **counts):
    summary = {"images": len(images), "accepted": 0, "refused": 0, "not_asked": 0, "unreadable": 0}
    report = {
        "side": "local",
        "url": "http://mirror:5000",
        "images": images,
        "summary": summary | {"signatures": 2, "seconds": 0.1} | counts,
    }
    return table.signature_lines(report, width=width)


def test_an_accepted_image_is_told_with_its_keys_and_signatures():
    lines = shown(
        {"a:1": image(True, signature(), signature(subject=CHILD, kind="cosign"), signed_by=["redhat"])},
        accepted=1,
    )
    assert lines == [
        "mirror:5000  2 signatures of 1 image",
        "  a:1  accepted by redhat",
        "    simple  valid  redhat  r.com/a:1",
        "    cosign  valid  redhat  of bbbbbbbbbbbb  r.com/a:1",
        "",
        "1 accepted",
    ]


def test_what_is_refused_or_unreadable_stands_nearest_to_the_prompt():
    lines = shown(
        {
            "a:1": image(None, cause="absent", error="it is not here"),
            "b:1": image(False, cause="signature", error="nobody of signed_by (redhat) has signed it"),
            "c:1": image(None),
        },
        refused=1,
        not_asked=1,
        unreadable=1,
    )
    assert [line for line in lines if not line.startswith("    ")][1:] == [
        "  c:1  not asked",
        "  b:1  refused",
        "  a:1  unreadable",
        "",
        "1 not asked, 1 refused, 1 unreadable",
    ]
    assert "    signature: nobody of signed_by (redhat) has signed it" in lines


def test_a_signature_that_does_not_count_says_why():
    odd = signature(
        verdict="unknown key", keys=[], key="E60D446E63405576", reason="is by a key that is not known"
    )
    lines = shown({"a:1": image(False, odd)}, refused=1)
    assert any("unknown key  E60D446E63405576" in line for line in lines)
    assert "(is by a key that is not known)" in " ".join(lines)


def test_text_of_strangers_cannot_move_the_cursor():
    lines = shown({"a:1": image(True, signature(identity="r.com/\x1b[2J:1"), notes=["a\rb"])}, accepted=1)
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_long_lines_are_wrapped_to_the_terminal():
    lines = shown({"a:1": image(False, cause="signature", error="word " * 40)}, width=60, refused=1)
    assert max(map(len, lines)) <= 60


def test_nothing_that_a_minion_says_can_move_the_cursor():
    signed = signature(subject=CHILD, reason="expired")
    images = {
        "a:1": image(False, signed, signed_by=["redhat"], cause="signature", error="nobody", notes=["old"])
    }
    assert moving(shown(spoilt(images), refused=1)) == []
