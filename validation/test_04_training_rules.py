"""The rules that all training of the run follows, retraining included (L2, L3, L5, S4, S5, P1, P2, M1–M3, T*, H*).

pytest validation/ -m smoke -k training
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tinyworlds_gate.loop.stage_controller import StageResult


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L5", marks=pytest.mark.requirement("L5")),
        pytest.param("H1", marks=pytest.mark.requirement("H1")),
        pytest.param("H2", marks=pytest.mark.requirement("H2")),
    ],
)
def test_the_stages_trained_in_order_from_new_weights(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L2", marks=pytest.mark.requirement("L2")),
        pytest.param("H5", marks=pytest.mark.requirement("H5")),
    ],
)
def test_every_chunk_had_exactly_one_launcher(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L3", marks=pytest.mark.requirement("L3")),
        pytest.param("H6", marks=pytest.mark.requirement("H6")),
    ],
)
def test_all_gpus_worked_at_the_same_time_for_this_launcher(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("S4", marks=pytest.mark.requirement("S4")),
        pytest.param("S5", marks=pytest.mark.requirement("S5")),
    ],
)
def test_a_chunk_counts_only_with_its_own_artifacts_and_the_thresholds_of_the_profile(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("P1", marks=pytest.mark.requirement("P1")),
        pytest.param("P2", marks=pytest.mark.requirement("P2")),
        pytest.param("H9", marks=pytest.mark.requirement("H9")),
    ],
)
def test_parameters_have_an_origin_and_the_effective_batch_is_tracked(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("H7", marks=pytest.mark.requirement("H7"))])
def test_no_chunk_resets_the_progress_of_its_stage(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("H8", marks=pytest.mark.requirement("H8"))])
def test_a_batch_of_one_marks_the_run_degraded(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("M1", marks=pytest.mark.requirement("M1")),
        pytest.param("M2", marks=pytest.mark.requirement("M2")),
        pytest.param("M3", marks=pytest.mark.requirement("M3")),
    ],
)
def test_history_checkpoints_and_pictures_were_updated_in_every_chunk(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("T1", marks=pytest.mark.requirement("T1")),
        pytest.param("T2", marks=pytest.mark.requirement("T2")),
        pytest.param("T3", marks=pytest.mark.requirement("T3")),
        pytest.param("T4", marks=pytest.mark.requirement("T4")),
        pytest.param("T6", marks=pytest.mark.requirement("T6")),
    ],
)
def test_every_retune_of_this_run_followed_its_rule(
    id: str, trained_stages: Mapping[str, StageResult], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)
