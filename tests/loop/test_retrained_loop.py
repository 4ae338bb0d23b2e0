"""The first attempt fails, dynamics is retrained, the second passes at an unchanged threshold, and so does the final
verdict on a second draw of clips, in episodes that no attempt has measured (T5, L8)."""

from __future__ import annotations

import base64
import csv
import json
import re

import pytest
from matplotlib.image import imread

from tests.helpers.junit_rules import junit_problems, suite_properties
from tests.helpers.tiny_project import PASSED, Session
from tinyworlds_gate.checkpoints.retention import gated_checkpoints

GATE_TEST = "test_the_rollout_passes_the_inference_gate[G5]"


@pytest.mark.requirement("L8", "T5", "H3")
def test_a_retried_gate_that_passes_is_a_pass(retrained: Session) -> None:
    assert retrained.exit_status == 0, retrained.output
    verdicts = [(one["attempt"], one["draw"], one["verdict"]) for one in retrained.events("gate_verdict")]
    assert verdicts == [(1, 1, "FAIL"), (2, 1, "PASS"), (2, 2, "PASS")]
    assert retrained.found("L8")[0] == retrained.found("T5")[0] == "PASS"
    assert retrained.events("run_finished")[0]["status"] == "passed"


@pytest.mark.requirement("G5")
def test_the_threshold_is_the_same_in_every_verdict_and_the_clips_in_both_attempts(retrained: Session) -> None:
    first, second, final = retrained.events("gate_verdict")
    assert first["thresholds"] == second["thresholds"] == final["thresholds"]
    assert first["thresholds"]["max_mse"] == 0.03
    assert first["measures"]["mse"] > 0.1 > 0.03 > second["measures"]["mse"]
    assert first["measures"]["clip_digest"] == second["measures"]["clip_digest"] != final["measures"]["clip_digest"]


@pytest.mark.requirement("L8", "H3")
def test_the_final_verdict_is_taken_on_held_out_episodes_that_no_attempt_has_measured(retrained: Session) -> None:
    raw = {name: json.loads((retrained.run / f"measures_{name}.json").read_text()) for name in ("02", "02_final")}
    episodes = {name: {clip["episode"] for clip in one["clips"]} for name, one in raw.items()}
    assert (len(episodes["02"]), len(episodes["02_final"])) == (5, 5)
    assert not episodes["02"] & episodes["02_final"]
    attempt, final = retrained.events("inference_finished")[1:]
    assert attempt["checkpoints"] == final["checkpoints"]
    assert retrained.events("dataset_ready")[0]["draws"] == [{"draw": n, "clips": 64, "episodes": 5} for n in (1, 2)]
    passed = {one["id"]: one["reason"] for one in retrained.events("gate_verdict")[-1]["conditions"]}
    assert passed["G5.clips"] == (
        "the 64 clips measured are the held-out clips of the second draw, in episodes that no attempt has measured"
    )


@pytest.mark.requirement("L8", "H3", "L10")
def test_reports_page_and_the_run_s_sentence_show_both_verdicts(retrained: Session) -> None:
    sentence = retrained.events("run_finished")[0]["sentence"]
    assert "on 64 held-out clips of a second draw, which no retry has seen, is at most 0.03" in sentence
    assert re.search(r"Attempt 2 of 2 had passed on the clips of the attempts with an error of 0\.0\d+\.$", sentence)
    report = retrained.report("A1")
    assert re.search(r"^\| 2 \| dynamics retrained, updates 4 → 124 .* \| PASS \|", report, re.M)
    assert re.search(r"^\| 2, final draw \| attempt 2 passed; the same checkpoints, .* \| PASS \|", report, re.M)
    assert (
        "The run retrained until attempt 2 passed. Its verdict is the one on a second draw of clips"
        in retrained.report("A5")
    )
    assert "2, final draw" in retrained.page.read_text(encoding="utf-8")
    assert "on a second draw that no attempt has seen: PASS (error 0.0" in retrained.found("L8")[1]


@pytest.mark.requirement("L10")
def test_the_report_says_what_the_verdict_is_bound_to(retrained: Session) -> None:
    final = retrained.events("gate_verdict")[-1]
    report = retrained.report("A1")
    bound = final["binding"]
    weights = retrained.events("inference_finished")[-1]["checkpoints"]
    assert bound["checkpoints"] == {stage: one["sha256"] for stage, one in weights.items()}
    assert bound["clip_digest"] == final["measures"]["clip_digest"]
    assert bound["dataset_sha256"] == retrained.events("dataset_ready")[0]["sha256"]
    started = retrained.events("run_started")[0]
    assert (bound["commit"], bound["dirty"]) == (started["commit"], False)
    assert bound["config"]["thresholds.max_mse"] == 0.03
    section = report.partition("### Inputs of this verdict")[2].partition("###")[0]
    for value in (*bound["checkpoints"].values(), bound["clip_digest"], bound["config_sha256"], bound["commit"]):
        assert value in section
    assert f"torch {bound['versions']['torch']}" in section


@pytest.mark.requirement("L8")
def test_the_terminal_shows_the_retraining_and_both_attempts(retrained: Session) -> None:
    assert re.search(r"= 45 passed, 16 skipped, \d+ deselected, 1 retrained in ", retrained.output)
    assert re.search(rf"^(validation/\S+::{re.escape(GATE_TEST)} )?RETRAINED +\[", retrained.output, re.M)
    assert "retraining dynamics, retry 1: updates 4 to 124 at learning rate 0.002" in retrained.output
    assert re.search(r"^attempt 1: FAIL, MSE 0\.[12]", retrained.output, re.M)
    assert re.search(r"^attempt 2: PASS, MSE 0\.00", retrained.output, re.M)
    assert re.search(r"^attempt 2, final draw: PASS, MSE 0\.00", retrained.output, re.M)
    assert "the gate requires a rollout error of at most 0.03" in retrained.output


@pytest.mark.requirement("L8")
def test_junit_counts_the_gate_once_and_reports_both_attempts(retrained: Session) -> None:
    (case,) = [case for case in retrained.cases() if case.get("name") == GATE_TEST]
    assert case.find("failure") is None
    assert junit_problems(retrained.junit) == []
    attempts = dict(suite_properties(retrained.junit))
    assert attempts["attempt 1"].startswith("FAIL: the rollout error 0.")
    assert "dynamics_step_3" in attempts["attempt 1"]
    assert attempts["attempt 2"].startswith("PASS: ")
    assert "dynamics_step_123" in attempts["attempt 2"]
    assert "of a second draw, which no retry has seen" in attempts["attempt 2, final draw"]
    assert all(case.get("name") for case in retrained.cases())


@pytest.mark.requirement("L8", "A8")
def test_the_page_shows_the_failed_attempt_as_a_row_of_its_own(retrained: Session) -> None:
    page = retrained.page.read_text(encoding="utf-8")
    (first, log), (second, _) = retrained.page_rows(GATE_TEST)
    assert (first, second) == ("Rerun", "Passed")
    assert "attempt 1 (dynamics checkpoint dynamics_step_3): FAIL: the rollout error 0." in log
    assert re.search(r"1 Reruns?\b", page)
    assert re.search(r"45 Passed\b", page)


@pytest.mark.requirement("T5", "G2")
def test_the_second_attempt_used_the_new_dynamics_checkpoint_and_the_same_others(retrained: Session) -> None:
    first, second, _ = (event["checkpoints"] for event in retrained.events("inference_finished"))
    assert (first["dynamics"]["step"], second["dynamics"]["step"]) == (3, 123)
    assert first["dynamics"]["sha256"] != second["dynamics"]["sha256"]
    assert first["video_tokenizer"] == second["video_tokenizer"]
    assert first["latent_actions"] == second["latent_actions"]
    for name in ("02", "02_final"):
        log = (retrained.run / "logs" / f"inference_{name}.log").read_text()
        assert f"Using dynamics checkpoint: {retrained.project / second['dynamics']['path']}" in log


@pytest.mark.requirement("S4", "G2")
def test_the_checkpoints_of_both_attempts_are_kept_from_pruning(retrained: Session) -> None:
    held = gated_checkpoints(retrained.run / "dynamics" / "checkpoints")
    assert {gate: path.name for gate, path in held.items()} == {
        "inference-1": "dynamics_step_3",
        "inference-2": "dynamics_step_123",
        "stage": "dynamics_step_123",
    }
    assert all(path.is_dir() for path in held.values())


@pytest.mark.requirement("T5", "H7")
def test_the_retraining_continues_at_the_absolute_update_in_one_chunk(retrained: Session) -> None:
    (event,) = retrained.events("dynamics_retrain")
    assert (event["retry"], event["from_update"], event["to_update"]) == (0, 4, 124)
    assert event["learning_rate"] == 2e-3
    assert "is above the limit 0.03" in event["reason"]
    (chunk,) = [chunk for chunk in retrained.events("chunk_started") if "retry" in chunk["reason"]]
    assert (chunk["stage"], chunk["start_update"], chunk["end_update"]) == ("dynamics", 4, 124)
    assert chunk["resumed_from"].endswith("dynamics_step_3")


@pytest.mark.requirement("T5", "P1")
def test_the_learning_rate_of_the_retry_is_the_one_of_the_ladder(retrained: Session) -> None:
    with (retrained.project / "Logs" / f"dynamics_history_{retrained.run.name}.csv").open(newline="") as file:
        rates = {int(row["_step"]): float(row["learning_rate/group_0"]) for row in csv.DictReader(file)}
    assert sorted(rates) == list(range(124))
    assert max(rates[step] for step in range(4)) == pytest.approx(3e-3)
    assert max(rates[step] for step in range(4, 124)) == pytest.approx(2e-3)
    assert rates[123] < 2e-4
    (chunk,) = [chunk for chunk in retrained.events("chunk_started") if "retry" in chunk["reason"]]
    assert chunk["param_sources"]["learning_rate"] == "retry 1 (T5)"


def drawn(session: Session) -> list[str]:
    """The pictures of the verdicts, as the journal names them."""
    return [str(event["picture"]) for event in session.events("verdict_picture")]


@pytest.mark.requirement("A7")
def test_each_verdict_has_its_picture_drawn_right_after_it(retrained: Session) -> None:
    events = [event for event in retrained.events() if event["event"] in ("gate_verdict", "verdict_picture")]
    order = [(event["event"], event["attempt"], event["draw"]) for event in events]
    assert order == [
        (name, *attempt) for attempt in ((1, 1), (2, 1), (2, 2)) for name in ("gate_verdict", "verdict_picture")
    ]
    numbers, run = ("01", "02", "02_final"), retrained.run.name
    assert drawn(retrained) == [f"inference_results/gate_verdict_{number}_{run}.png" for number in numbers]
    for event in retrained.events("verdict_picture"):
        assert (event["left_out"], event["problem"]) == ([], None)
        height, width, _ = imread(retrained.project / event["picture"]).shape
        assert (width, height > 1500) == (1650, True)


@pytest.mark.requirement("A8")
def test_the_page_embeds_the_picture_of_the_last_verdict_first(retrained: Session) -> None:
    page = retrained.page.read_text(encoding="utf-8")
    (first, alt), *others = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)"', page)
    *older, final = [(retrained.project / name).read_bytes() for name in drawn(retrained)]
    assert base64.b64decode(first) == final
    assert re.match(PASSED, alt)
    assert {*older} <= {base64.b64decode(data) for data, _ in others}
    assert page.index("twg-verdict-picture") < page.index("Inference attempts")
    assert len(page.encode()) < 10_000_000


@pytest.mark.requirement("A1", "A5")
def test_reports_and_terminal_name_the_pictures_of_the_verdicts(retrained: Session) -> None:
    for report in ("A1", "A5"):
        assert all(f"](../../{name})" in retrained.report(report) for name in drawn(retrained))
    assert f"picture of the verdict of attempt 2, final draw: {drawn(retrained)[-1]}" in retrained.output
    assert f"\nA7  {drawn(retrained)[-1]}\n" in retrained.output
