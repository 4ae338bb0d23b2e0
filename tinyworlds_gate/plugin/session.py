"""What one pytest session knows of its closed loop: the run, its findings, its reports and its exit status."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.config.cli_options import TARGET_OPTIONS
from tinyworlds_gate.config.rendezvous import rendezvous_of, with_node_options
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import PASS
from tinyworlds_gate.plugin import html_page, options
from tinyworlds_gate.plugin.console import Voice
from tinyworlds_gate.plugin.defaults import TIMEOUT_S, has_no_timeout
from tinyworlds_gate.plugin.selection import left_out_by, only_shows
from tinyworlds_gate.plugin.validation_tests import (
    case_properties_allowed,
    is_validation,
    requirement_ids,
    stated_findings,
)
from tinyworlds_gate.run.timestamps import free_timestamp

if TYPE_CHECKING:
    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.config.rendezvous import Rendezvous
    from tinyworlds_gate.context import RunContext
    from tinyworlds_gate.findings.base import Finding
    from tinyworlds_gate.findings.reporting import RunFiles
    from tinyworlds_gate.gate.extension import ClipMetric
    from tinyworlds_gate.loop.closed_loop import ClosedLoop
    from tinyworlds_gate.plugin.outcome import RunOutcome
    from tinyworlds_gate.reports.missing import Missing
    from tinyworlds_gate.targets.base import Target


class GateSession:
    """Created once a session; the closed loop starts when the first validation test asks for it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.project_root = options.project_root(config)
        self.resumed, self._messages = options.resumed_run(config, self.project_root)
        self.explicit = options.placed_options(config) if self.resumed is None else self.resumed.options
        self.explicit.pop("resume_run", None)
        self.checkout = chosen_checkout(self.explicit)
        self.place = with_node_options(self.explicit, options.explicit_options(config))
        self.stamp = (
            free_timestamp(self.project_root) if self.resumed is None else str(self.resumed.started["timestamp"])
        )
        self.page: Path | None = None
        self.page_is_ours = False
        self.loop: ClosedLoop | None = None
        self.outcome: RunOutcome | None = None
        self.missing: list[Missing] = []
        self.record_problem: str | None = None
        self.summary_problem: str | None = None
        self.no_run_problem: str | None = None
        self.written: dict[str, Path] = {}
        self.findings: dict[str, list[Finding]] = {}
        self.reports: dict[str, pytest.TestReport] = {}
        """Node id of a validation test → its report, the one that decides its outcome."""
        self.deselected: dict[str, str] = {}
        self._settings: tuple[Settings, int] | None = None
        self._start_error: GateError | None = None
        self.carried: set[str] = set()
        self.selected: list[pytest.Item] = []
        self.custom: tuple[ClipMetric, ...] = ()
        self.voice = Voice(config)
        self.began = time.monotonic()

    @property
    def rendezvous(self) -> Rendezvous | None:
        """Where the nodes of this run meet; a resumed run may be given another place than it was started with."""
        return rendezvous_of(self.place)

    @property
    def validates(self) -> bool:
        """Whether tests of the closed loop will run."""
        return bool(self.selected)

    @property
    def start_problem(self) -> str | None:
        """Why no run was started; None when one was, or when none was asked for."""
        return None if self._start_error is None else str(self._start_error)

    # Before the tests.

    def mark_validation(self, items: Sequence[pytest.Item]) -> None:
        """Mark validation tests by the kind of the chosen profile, and take pytest-timeout off long runs."""
        if case_properties_allowed(self.config):
            for item in items:
                item.user_properties += [("requirement", id) for id in requirement_ids(item)]
        validation = [item for item in items if is_validation(item)]
        self.carried = {id for item in validation for id in requirement_ids(item)}
        if not validation:
            return
        settings, _ = self.settings()
        kind = settings.profile.kind
        for item in validation:
            item.add_marker(getattr(pytest.mark, kind))
            if kind == "longrun":
                # A stage may train for days; every child has a deadline of its own (profile.yaml, watchdog).
                item.add_marker(pytest.mark.timeout(0))
            elif has_no_timeout(self.config):
                item.add_marker(pytest.mark.timeout(TIMEOUT_S))

    def settings(self) -> tuple[Settings, int]:
        """The resolved settings and the number of GPUs.

        Raises:
            pytest.UsageError: the settings are wrong; nothing was started.
        """
        if self._settings is None:
            from tinyworlds_gate.loop.start import resolve_run

            try:
                recorded = None if self.resumed is None else self.resumed.settings
                self._settings = resolve_run(
                    self._profile(), self.explicit, self.project_root, self.checkout, recorded=recorded
                )
                if self.resumed is not None:
                    self.resumed.require_settings(self._settings[0].table())
            except GateError as error:
                raise pytest.UsageError(str(error)) from error
        return self._settings

    def _profile(self) -> str:
        return options.chosen_profile(self.config) if self.resumed is None else self.resumed.profile

    def note_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Requirements of validation tests that will not run because a person left them out."""
        for item in items:
            if is_validation(item):
                for id in requirement_ids(item):
                    self.deselected[id] = item.nodeid

    def note_selected(self, items: Sequence[pytest.Item]) -> None:
        """The validation tests that will run; without any, no page is written.

        Raises:
            pytest.UsageError: a profile was asked for whose tests `-m` leaves out.
        """
        self.selected = [item for item in items if is_validation(item)]
        if self.selected:
            from tinyworlds_gate.plugin.custom_metrics import custom_metrics

            if not self.config.option.collectonly:
                self._require_gpus_and_dataset()
                self._require_baseline()
            self.custom = custom_metrics(self.config)
        if self.carried and not self.selected and ("profile" in self.explicit or self.resumed is not None):
            self._require_marker_of_profile()
        if not self.selected and self.page_is_ours:
            html_page.drop(self.config)
            self.page = None

    def _require_gpus_and_dataset(self) -> None:
        from tinyworlds_gate.loop.start import require_dataset, require_gpus

        settings, gpus = self.settings()
        try:
            require_gpus(settings, gpus, self.explicit)
            if self.resumed is None:
                require_dataset(settings, self.checkout)
        except GateError as error:
            raise pytest.UsageError(str(error)) from error

    def _require_baseline(self) -> None:
        """Refuse a baseline that nothing of this session could be compared with."""
        if "baseline" not in self.explicit:
            return
        from tinyworlds_gate.loop.baseline import require_usable_baseline

        try:
            require_usable_baseline(self.explicit, self.settings()[0], self.project_root)
        except GateError as error:
            raise pytest.UsageError(str(error)) from error
        required = [name for name in ("fail_on", "require_better") if self.explicit.get(name)]
        if required and not any("G9" in requirement_ids(item) for item in self.selected):
            raise pytest.UsageError(
                f"--{required[0].replace('_', '-')} needs the test of G9 (validation/test_03_inference_gate.py), which "
                "was left out; select it as well"
            )

    def _require_marker_of_profile(self) -> None:
        profile, markers = self.settings()[0].profile, self.config.option.markexpr
        if not options.selects(profile.kind, markers):
            named = "the run's profile" if self.resumed is not None else "--profile"
            raise pytest.UsageError(
                f"{named} {self.explicit.get('profile', profile.name)} is a {profile.kind} profile, and -m '{markers}' "
                f"leaves the {profile.kind} tests out; add -m {profile.kind}"
            )

    # While the tests run.

    def require_loop(self) -> ClosedLoop:
        """The closed loop of this session; the first call starts the run."""
        if self.loop is None:
            from tinyworlds_gate.loop.closed_loop import ClosedLoop

            settings, gpus = self.settings()
            if self._start_error is not None:
                raise self._start_error
            try:
                context = start_context(self, settings, gpus)
            except GateError as error:
                self._start_error = error  # one failed start leaves one run folder, whoever asks again
                raise
            context.custom = self.custom
            if self.rendezvous is not None:
                from tinyworlds_gate.loop.nodes import open_nodes

                open_nodes(context, self.rendezvous)
            self.loop = ClosedLoop(context, self.stamp, None if self.resumed is None else self.resumed.so_far)
            devices = "on CPU" if context.on_cpu else f"on {gpus} GPU(s)"
            self.voice.say(f"run {context.layout.run}, profile {settings.profile.name}, {devices}")
            for note in [*self._messages, *settings.notes]:
                self.voice.say(note)
            if self.custom:
                from tinyworlds_gate.plugin.custom_metrics import announcement

                self.voice.say(announcement(self.custom))
        return self.loop

    def dry_run(self) -> tuple[str, list[str]]:
        """Every command of a run on the checkout, in order, for a shell; and what would stop the run.

        Raises:
            pytest.UsageError: no checkout is named, or the settings are wrong.
        """
        from tinyworlds_gate.loop.dry_run import dry_run

        if self.checkout is None:
            raise pytest.UsageError("--target-dry-run prints the commands for a checkout; name it with --target-repo")
        try:
            settings, gpus = self.settings()
        except pytest.UsageError as error:
            return f"# This run would stop before anything trains:\n# STOP {error}", [str(error)]
        held_out = self.explicit.get("held_out_data")
        try:
            return dry_run(settings, gpus, self.checkout, self.stamp, Path(held_out) if held_out else None)
        except GateError as error:
            raise pytest.UsageError(str(error)) from error

    def note_report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Findings of a validation test: its own where it stated them, else one for each requirement it carries."""
        if not is_validation(item) or not (report.when == "call" or not report.passed):
            return
        self.findings[item.nodeid] = stated_findings(item, report)
        self.reports[item.nodeid] = report

    def note_attempt(self, item: pytest.Item) -> None:
        """Every attempt becomes a property of the retried test, where JUnit files have properties of tests."""
        if case_properties_allowed(self.config) and item.get_closest_marker("retrain_on_failure") is not None:
            known = item.user_properties
            known += [entry for entry in self.attempt_properties() if entry not in known]

    def attempt_properties(self) -> list[tuple[str, str]]:
        """`attempt 1` → its sentence and its dynamics checkpoint, for each attempt so far."""
        return [
            (one.name, f"{one.verdict.sentence} Dynamics checkpoint: {one.checkpoints['dynamics'].path.name}")
            for one in (self.loop.attempts if self.loop is not None else ())
        ]

    @property
    def gate_failed(self) -> bool:
        """Whether the newest attempt at the inference gate did not pass."""
        return self.loop is not None and bool(self.loop.attempts) and self.loop.attempts[-1].verdict.verdict != PASS

    def run_files(self) -> RunFiles:
        """Where the files of the run are."""
        from tinyworlds_gate.findings.reporting import RunFiles

        assert self.loop is not None
        layout = self.loop.context.layout
        return RunFiles(layout.project_root, layout.root, self.page, page_expected=self.page is not None)

    def write_draft_page(self) -> Path | None:
        """Write the HTML page of the run so far, so that it can be judged (A8); None without pytest-html."""
        if self.page is not None:
            html_page.write_draft(self.config, self.page_summary())
        return self.page

    def page_summary(self) -> list[str]:
        """The fragments above the page's table of tests; none when no run was started."""
        return [] if self.loop is None else html_page.summary(self.loop.context.layout, self.page)

    def retrain_if_allowed(self) -> bool:
        """After a failed gate: say whether dynamics will be retrained, and why."""
        if self.loop is None:
            return False
        answer = self.loop.may_retrain()
        self.voice.say(
            f"the gate failed; {'retraining dynamics' if answer.allowed else 'no retraining'}: {answer.reason}"
        )
        return answer.allowed

    def make_attempt(self) -> None:
        """Retrain dynamics and run inference on the new checkpoint."""
        if self.loop is not None:
            self.loop.retrain_dynamics()

    def note_no_run(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a session that collected tests of the closed loop and ran none, unless the command line chose that."""
        if exitstatus != pytest.ExitCode.OK or not self.carried or only_shows(self.config):
            return
        ran = any(requirement_ids(item) for item in self.selected)
        words, chosen = left_out_by(self.config, self.settings()[0].profile.kind)
        if ran:
            why = "no test of the closed loop started a run (empty test bodies, or fixtures of another conftest.py?)"
        elif chosen:
            return
        else:
            why = f"all tests of the closed loop were left out ({words}), and not by the command line"
        self.no_run_problem = f"INVALID: {why}, so there is no verdict: nothing is claimed about the model."
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def note_unwritten(self, session: pytest.Session, error: Exception) -> None:
        """A part of the record that could not be written: the terminal says so, and such a session does not pass."""
        self.record_problem = self.record_problem or str(error)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def close(self) -> None:
        """Whatever happened: the project is free for the next run."""
        if self.loop is not None:
            self.loop.close()


SESSION = pytest.StashKey[GateSession]()


def chosen_checkout(explicit: Mapping[str, Any]) -> Target | None:
    """The checkout that the options name; most sessions name none, and import nothing for it."""
    if not any(name in explicit for name in TARGET_OPTIONS):
        return None
    from tinyworlds_gate.loop.checkout import chosen_target

    try:
        return chosen_target(explicit)
    except GateError as error:
        raise pytest.UsageError(str(error)) from error


def start_context(session: GateSession, settings: Settings, gpus: int) -> RunContext:
    """The context of the session's run; it is started, or gone on with.

    Raises:
        GateError: the run cannot be started.
    """
    from tinyworlds_gate.loop.start import resume_run, start_run

    command = ["pytest", *map(str, session.config.invocation_params.args)]
    say, show = session.voice.say, session.voice.progress
    if session.resumed is not None:
        return resume_run(
            settings,
            gpus,
            session.resumed,
            command=command,
            say=say,
            show_progress=show,
            checkout=session.checkout,
            custom=session.custom,
        )
    return start_run(
        settings,
        gpus,
        explicit=session.explicit,
        command=command,
        stamp=session.stamp,
        say=say,
        show_progress=show,
        checkout=session.checkout,
    )
