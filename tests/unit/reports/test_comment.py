"""The comment on a pull request: ten seconds are enough, it never exceeds GitHub's limit, and nothing in it is markup
of somebody else.

pytest tests/unit/reports/test_comment.py
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.helpers import journal_samples as samples
from tests.helpers.finished_runs import add_picture, record_of
from tests.helpers.journal_samples import NO_GPUS, SAMPLES, SampleRun
from tests.helpers.made_up_secrets import draw
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.advice import advice_of
from tinyworlds_gate.reports.comment import Around, addresses, film_strips, marker, run_comment
from tinyworlds_gate.reports.comment_markup import MOST_CHARACTERS, checked_url, comment_text, length_of
from tinyworlds_gate.reports.render import write_reports

PREFIX = "https://pictures.example.com/run"
STRONGEST: dict[str, Any] = {
    "strongest_baseline": "blend per region",
    "strongest_baseline_mse": 0.0126,
    "skill_strongest": 0.36,
    "skill_strongest_low": 0.21,
    "skill_strongest_high": 0.45,
    "skill": 0.43,
}
JUDGED = {"max_mse": 0.03, "require_skill_strongest": True}
HOSTILE = (
    "a | b `c` <script>alert(1)</script> *x* [y](http://e.invalid) ![z](http://e.invalid/p.png) ```\n# heading\n"
    "@octocat @org/team #12 owner/game#12 GH-12 me@example.com www.example.com :shipit: </details> <!-- --> &#64;bot "
    "\u202e\u200b $x$ [^1] ~~gone~~ \\@octocat"
)


def effect(key: str, verdict: str, change: float | None = 0.038, **more: Any) -> dict[str, Any]:
    """An effect of the event `baseline_compared`."""
    values = {"a": 0.0078, "b": 0.0081, "change": change, "low": -0.091, "high": 0.184}
    unit = {"error": "MSE", "recall": "share", "control": "dB of PSNR"}.get(key, "")
    return {"key": key, "label": f"the {key}", "unit": unit, "better": "lower", **values, "verdict": verdict, **more}


def compare(run: SampleRun, verdict: str, *effects: dict[str, Any], **more: Any) -> SampleRun:
    """Append the comparison with a baseline."""
    fields = {
        "schema": 1,
        "sentence": f"{verdict}: the error rose by 3.8 %.",
        "reason": None,
        "question": "recipes",
        "a": {"name": "smoke_before"},
        "b": {"name": run.run},
        "clips": 64,
        "episodes": 8,
        "effects": list(effects) or [effect("error", verdict)],
        "baseline": {"path": "docs/baseline.json", "sha256": "b" * 64},
    }
    run.add("baseline_compared", verdict=verdict, **{**fields, **more})
    return run


def model_run(folder: Path, verdict: str | None = None, **more: Any) -> SampleRun:
    """A run whose model beats every prediction without a model, compared with a baseline if there is a verdict."""
    run = SampleRun(folder).prepare().train().infer(1, 0.0081, **STRONGEST)
    gate = next(event for event in run.events if event["event"] == "gate_verdict")
    fields = {key: value for key, value in gate.items() if key not in ("seq", "time", "event")}
    run.add("gate_verdict", **{**fields, "thresholds": JUDGED})
    add_picture(run)
    return run if verdict is None else compare(run, verdict, **more)


def passed(run: SampleRun) -> SampleRun:
    return run.require(**NO_GPUS).finish("passed", "PASS: the rollout error 0.0081 is at most 0.03.")


def comment(run: SampleRun, around: Around | None = None) -> str:
    record = record_of(run)
    strips = film_strips(record)
    return run_comment(record, around or Around(pictures=addresses(strips, PREFIX)), strips)


class Tags(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(text: str) -> Tags:
    return Tags(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


# Ten seconds.


@pytest.mark.parametrize(
    ("verdict", "first"),
    [
        (None, "## ✅ Merge: PASS"),
        ("BETTER", "## ✅ Merge: PASS, better than the baseline"),
        ("SAME", "## ✅ Merge: PASS, no difference from the baseline seen"),
        ("WORSE", "## ⚠️ Look before you merge: PASS, but worse than the baseline"),
        ("NOT-COMPARABLE", "## ⚠️ Look before you merge: PASS, but not comparable with the baseline"),
        ("of another version", "## ⚠️ Look before you merge: PASS, but not comparable with the baseline"),
    ],
)
def test_the_first_line_says_whether_to_merge(tmp_path: Path, verdict: str | None, first: str) -> None:
    assert comment(passed(model_run(tmp_path, verdict))).splitlines()[0] == first


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("passing", "⚠️ Look before you merge: PASS (before G8), passed a rule without G8"),
        ("failing", "❌ Do not merge: FAIL, the gate failed"),
        ("degraded", "⚠️ Look before you merge: DEGRADED, a stage fell to one clip per GPU"),
        ("failed_stage", "❌ Do not merge: FAIL, the run ended before the gate"),
        ("interrupted", "❔ No verdict: the run was interrupted"),
        ("single_stage", "✅ Merge: PASS"),
    ],
)
def test_every_kind_of_end_has_its_words(tmp_path: Path, name: str, first: str) -> None:
    assert advice_of(record_of(SAMPLES[name](tmp_path))).headline.startswith(first)


def test_a_run_that_passed_the_gate_and_failed_by_its_baseline_names_the_baseline(tmp_path: Path) -> None:
    run = model_run(tmp_path, "WORSE").require(**NO_GPUS).finish("failed", "FAIL: worse than the baseline.")
    text = comment(run)
    assert text.startswith("## ❌ Do not merge: FAIL, worse than the baseline\n\nThe error rose by 3.8 %.\n")


def test_a_run_that_had_to_be_better_says_so(tmp_path: Path) -> None:
    run = model_run(tmp_path, "SAME", required="better").require(**NO_GPUS).finish("failed", "FAIL: G9.")
    assert comment(run).startswith(
        "## ❌ Do not merge: FAIL, not better than the baseline\n\nThe error rose by 3.8 %.\n"
    )


def test_the_second_line_is_one_sentence_why(tmp_path: Path) -> None:
    assert comment(passed(model_run(tmp_path))).splitlines()[2] == "The rollout error 0.0081 is at most 0.03."


def test_the_table_shows_the_baseline_with_intervals_and_signs_without_colour(tmp_path: Path) -> None:
    effects = [
        effect("error", "WORSE"),
        effect("recall", "BETTER", 0.05, a=0.5, b=0.55, low=0.01, high=0.09),
        effect("control", "SAME", -0.03, a=6.2, b=6.17, low=-0.2, high=0.12),
        effect("speed", "NOT-MEASURED", None, a=None, b=None, note="only with --speed"),
    ]
    lines = comment(passed(model_run(tmp_path, "WORSE", effects=effects))).splitlines()
    assert "| the error | 0.0078 | 0.0081 | +3.8 % (−9.1 to +18.4) | ▼ worse |" in lines
    assert "| the recall | 50.0 % | 55.0 % | +5.0 points (+1.0 to +9.0) | ▲ better |" in lines
    assert "| the control | 6.20 dB | 6.17 dB | −0.03 dB (−0.20 to +0.12) | = no difference seen |" in lines
    assert "| the speed | — | — | — | – not measured (only with --speed) |" in lines


def test_without_a_baseline_it_shows_the_strongest_prediction_without_a_model(tmp_path: Path) -> None:
    lines = comment(passed(model_run(tmp_path))).splitlines()
    assert "| **this run** | 0.0081 | 95 % interval 0.0075 to 0.0086 |" in lines
    strongest = "| the strongest prediction without a model: blend per region | 0.0126 | skill 0.36 against it, from "
    assert f"{strongest}0.21 to 0.45 |" in lines
    assert "| the limit | 0.03 | the error must be at most this |" in lines


@pytest.mark.parametrize("junk", [{"effects": "x"}, {"effects": [3, {}]}, {"a": None}, {"schema": 2}, {"baseline": {}}])
def test_a_comparison_of_another_version_is_shown_as_far_as_it_goes(tmp_path: Path, junk: dict[str, Any]) -> None:
    text = comment(passed(model_run(tmp_path, "SAME", **junk)))
    assert text.startswith("## ✅ Merge")
    if "schema" in junk:
        assert "The comparison has the schema 2, and this version reads 1." in text


# Pictures.


def test_both_film_strips_are_shown_by_their_addresses(tmp_path: Path) -> None:
    run = passed(model_run(tmp_path, "SAME"))
    samples.write_picture(tmp_path / "docs" / "baseline.png")
    found = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", comment(run))
    assert [url for _, url in found] == [f"{PREFIX}/film_strip_01_1_smoke_sample.png", f"{PREFIX}/baseline.png"]
    assert all("true frames, generated frames and the error of each pixel" in alt for alt, _ in found)


def test_a_picture_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    run = passed(model_run(tmp_path, "SAME"))
    next(tmp_path.glob("inference_results/film_strip*")).unlink()
    text = comment(run)
    assert "![" not in text
    assert "No film strip of this run: its file is no longer there." in text
    assert "No film strip of the baseline: commit its film strip as docs/baseline.png." in text


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "results/smoke_sample/journal.jsonl"])
def test_only_pictures_of_the_project_are_shown(tmp_path: Path, path: str) -> None:
    samples.write_picture(tmp_path / "secret.png")
    run = SampleRun(tmp_path / "project").prepare().train().infer(1, 0.0187)
    run.add("verdict_picture", attempt=1, draw=1, picture=None, film_strip=path, left_out=[], problem=None)
    text = comment(run.finish("passed", "PASS: fine."))
    assert "![" not in text
    assert "No film strip of this run" in text


def test_without_an_address_the_file_is_named(tmp_path: Path) -> None:
    text = comment(passed(model_run(tmp_path)), Around())
    assert "![" not in text
    assert "Film strip of this run: `inference_results/film_strip_01_1_smoke_sample.png` in the evidence" in text


# Text of others.


def hostile_run(folder: Path) -> SampleRun:
    run = SampleRun(folder, profile=HOSTILE, command=["pytest", HOSTILE], options={"x": HOSTILE}).prepare()
    settings = {HOSTILE: {"value": HOSTILE, "source": f"option {HOSTILE}"}}
    run.add("settings_resolved", settings=settings, files={}, thresholds={}, notes=[])
    run.train().infer(1, 0.0412, strongest_baseline=HOSTILE, strongest_baseline_mse=0.0126)
    name = {"name": HOSTILE}
    effects = [effect("error", "WORSE", label=HOSTILE, unit=HOSTILE, note=HOSTILE), effect("x", HOSTILE, note=HOSTILE)]
    compare(run, "WORSE", *effects, a=name, sentence=HOSTILE, reason=HOSTILE, baseline={"path": HOSTILE})
    run.require(G5=("FAIL", HOSTILE), **NO_GPUS)
    return run.finish("failed", f"FAIL: {HOSTILE}")


def test_text_of_a_run_is_shown_literally_and_reaches_nobody(tmp_path: Path) -> None:
    text = comment(hostile_run(tmp_path))
    page = rendered(text)
    assert set(page.tags) <= {
        *("h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li", "details", "summary", "strong")
    }
    assert page.addresses == []
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    outside_code = re.sub(r"<code>.*?</code>", "", html)
    for reference in (r"@\w", r"#\d", r"GH-\d", r"://", r"www\.\w", r":shipit:"):
        assert re.search(reference, re.sub(r"<[^>]+>", "", outside_code)) is None, reference
    assert page.tags.count("details") == text.count("</details>\n") == 2
    assert page.comments == [" tinyworlds-gate:comment key=tinyworlds-gate "]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@octocat", "@&#8203;octocat"),
        ("owner/game#12", "owner/game#&#8203;12"),
        ("GH-7", "GH-&#8203;7"),
        ("see https://e.invalid", "see https:&#8203;//e.invalid"),
        (":+1:", ":&#8203;+1:"),
        ("19:52:59 UTC", "19:52:59 UTC"),
        ("G5.interval: 0.03", "G5.interval: 0.03"),
        ("<b>", "&lt;b>"),
        ("# title", "\\# title"),
    ],
)
def test_references_are_broken_and_plain_text_stays(text: str, shown: str) -> None:
    assert comment_text(text) == shown


def test_secrets_do_not_reach_the_comment(tmp_path: Path) -> None:
    secret = "hf_" + draw(34)
    run = SampleRun(tmp_path, command=["pytest", "--token", secret]).prepare().train().infer(1, 0.0412)
    run.require(G5=("FAIL", f"HF_TOKEN={secret}"), **NO_GPUS).finish("failed", f"FAIL: api_key={secret}")
    assert secret not in comment(run)


def test_a_comment_is_never_longer_than_github_takes(tmp_path: Path) -> None:
    long = "🙂|<&@x #1 " * 200
    settings = {f"{n}{long}": {"value": long, "source": f"option {long}"} for n in range(40)}
    run = SampleRun(tmp_path, profile=long, command=[long] * 50).prepare()
    run.add("settings_resolved", settings=settings, files={}, thresholds={}, notes=[])
    run.train().infer(1, 0.0412, strongest_baseline=long, strongest_baseline_mse=0.0126)
    compare(run, "WORSE", *[effect("error", "WORSE", label=long, note=long)] * 40, sentence=long, a={"name": long})
    run.require(**{f"{a}{n}": ("FAIL", f"{n}{long}") for a in "SLTGHM" for n in range(1, 8)})
    text = comment(run.finish("failed", long), Around(page_url=f"https://e.invalid/{'x' * 2000}"))
    assert length_of(text) <= MOST_CHARACTERS
    assert text.endswith(f"{marker(Around())}\n")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//e.invalid", "https://", "http://[", "https://a:b@e.invalid"]
)
def test_only_web_addresses_become_links(url: str) -> None:
    with pytest.raises(GateError, match=r"http:// and https://"):
        checked_url(url, "--page-url")


def test_an_address_cannot_end_its_link() -> None:
    assert checked_url("https://e.invalid/a b)](x)<y>?q=1&r=%20", "x") == (
        "https://e.invalid/a%20b%29%5D%28x%29%3Cy%3E?q=1&r=%20"
    )


# The command.


def test_the_command_prints_the_comment_or_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = passed(model_run(tmp_path).evidence())
    write_reports(run.root, run.folder)
    words = ["report", str(run.folder), "--page-url", "https://e.invalid/p", "--picture-url", PREFIX]
    main([*words, "--comment"])
    printed = capsys.readouterr().out
    assert printed.startswith("## ")
    assert f"]({PREFIX}/film_strip_01_1_smoke_sample.png)" in printed
    file = tmp_path / "comment.md"
    main([*words, "--comment", str(file), "--comment-key", "nightly"])
    assert capsys.readouterr().out == ""
    assert file.read_text().endswith("<!-- tinyworlds-gate:comment key=nightly -->\n")
    assert printed.splitlines()[:-1] == file.read_text().splitlines()[:-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--page-url", "https://e.invalid"], "--page-url needs --comment"),
        (["--comment", "--page-url", "ftp://x"], "--page-url 'ftp://x' is no address"),
        (["--comment", "--picture-url", "x"], "--picture-url 'x' is no address"),
        (["--comment", "--comment-key", "a b"], "key 'a b' is not usable"),
        (["--comment", "/proc/no/comment.md"], "cannot be written"),
    ],
)
def test_wrong_options_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    run = passed(model_run(tmp_path))
    assert main(["report", str(run.folder), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
