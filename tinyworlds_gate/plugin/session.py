"""What one pytest session knows of its closed loop: the run, its findings, its reports and its exit status."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.plugin import html_page, options
from tinyworlds_gate.plugin.interruption import INTERRUPTION
from tinyworlds_gate.plugin.junit import case_properties_allowed
from tinyworlds_gate.plugin.nodes import place_of, rendezvous_of
from tinyworlds_gate.plugin.starting import chosen_checkout, start_context
from tinyworlds_gate.plugin.validation_tests import is_validation, requirement_ids, stated_findings
from tinyworlds_gate.plugin.voice import Voice
from tinyworlds_gate.run.timestamps import free_timestamp

if TYPE_CHECKING:
    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.findings.base import Finding
    from tinyworlds_gate.launch.rendezvous import Rendezvous
    from tinyworlds_gate.loop import ClosedLoop
    from tinyworlds_gate.plugin.outcome import RunOutcome
    from tinyworlds_gate.reports.missing import Missing
    from tinyworlds_gate.stages.context import RunContext


class GateSession:
    """Created once a session; the closed loop starts when the first validation test asks for it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.project_root = options.project_root(config)
        self.resumed, self._told = options.resumed_run(config, self.project_root)
        self.explicit = options.placed_options(config) if self.resumed is None else self.resumed.options
        self.explicit.pop("resume_run", None)
        self.checkout = chosen_checkout(self.explicit)
        self.place = place_of(self.explicit, options.explicit_options(config))
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
        self.written: dict[str, Path] = {}
        self.findings: dict[str, list[Finding]] = {}
        self.deselected: dict[str, str] = {}
        self._settings: tuple[Settings, int] | None = None
        self._start_error: GateError | None = None
        self._carried: set[str] = set()
        self._selected: list[pytest.Item] = []
        self.voice = Voice(config)
        self._began = time.monotonic()

    @property
    def rendezvous(self) -> Rendezvous | None:
        """Where the nodes of this run meet; a resumed run may be given another place than it was started with."""
        return rendezvous_of(self.place)

    @property
    def validates(self) -> bool:
        """Whether tests of the closed loop will run."""
        return bool(self._selected)

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
        self._carried = {id for item in validation for id in requirement_ids(item)}
        if not validation:
            return
        settings, _ = self.settings()
        kind = settings.profile.kind
        for item in validation:
            item.add_marker(getattr(pytest.mark, kind))
            if kind == "longrun":
                # A stage may train for days; every child has a deadline of its own (profile.yaml, watchdog).
                item.add_marker(pytest.mark.timeout(0))

    def settings(self) -> tuple[Settings, int]:
        """The resolved settings and the number of GPUs.

        Raises:
            pytest.UsageError: the settings are wrong; nothing was started.
        """
        if self._settings is None:
            from tinyworlds_gate.loop_start import resolve_run

            try:
                self._settings = resolve_run(self._profile(), self.explicit, self.project_root, self.checkout)
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
        self._selected = [item for item in items if is_validation(item)]
        if self._carried and not self._selected and ("profile" in self.explicit or self.resumed is not None):
            self._require_marker_of_profile()
        if not self._selected and self.page_is_ours:
            html_page.drop(self.config)
            self.page = None

    def _require_marker_of_profile(self) -> None:
        profile, markers = self.settings()[0].profile, self.config.option.markexpr
        if not options.asks_for(profile.kind, markers):
            named = "the run's profile" if self.resumed is not None else "--profile"
            raise pytest.UsageError(
                f"{named} {self.explicit.get('profile', profile.name)} is a {profile.kind} profile, and -m '{markers}' "
                f"leaves the {profile.kind} tests out; add -m {profile.kind}"
            )

    # While the tests run.

    def require_loop(self) -> ClosedLoop:
        """The closed loop of this session; the first call starts the run."""
        if self.loop is None:
            from tinyworlds_gate.loop import ClosedLoop

            settings, gpus = self.settings()
            if self._start_error is not None:
                raise self._start_error
            try:
                context = start_context(self, settings, gpus)
            except GateError as error:
                self._start_error = error  # one failed start leaves one run folder, whoever asks again
                raise
            if self.rendezvous is not None:
                from tinyworlds_gate.loop_nodes import open_nodes

                open_nodes(context, self.rendezvous)
            self.loop = ClosedLoop(context, self.stamp, None if self.resumed is None else self.resumed.so_far)
            devices = "on CPU" if context.on_cpu else f"on {gpus} GPU(s)"
            self.voice.say(f"run {context.layout.run}, profile {settings.profile.name}, {devices}")
            for note in [*self._told, *settings.notes]:
                self.voice.say(note)
        return self.loop

    def dry_run(self) -> str:
        """Every command of a run on the checkout, in order, for a shell.

        Raises:
            pytest.UsageError: no checkout is named, or the settings are wrong.
        """
        from tinyworlds_gate.loop_dry_run import dry_run_text

        if self.checkout is None:
            raise pytest.UsageError("--target-dry-run prints the commands for a checkout; name it with --target-repo")
        settings, gpus = self.settings()
        held_out = self.explicit.get("held_out_data")
        try:
            return dry_run_text(settings, gpus, self.checkout, self.stamp, Path(held_out) if held_out else None)
        except GateError as error:
            raise pytest.UsageError(str(error)) from error

    def note_report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Findings of a validation test: its own where it stated them, else one for each requirement it carries."""
        if not is_validation(item) or not (report.when == "call" or not report.passed):
            return
        self.findings[item.nodeid] = stated_findings(item, report)

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

    # After the tests.

    def finish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run, write `requirement` and `run_finished`, and render the reports."""
        if self.loop is None:
            return
        from tinyworlds_gate.findings.monitoring import long_watch
        from tinyworlds_gate.plugin.outcome import CHECKED_AT_THE_END, decide_outcome
        from tinyworlds_gate.reports.render import write_reports
        from tinyworlds_gate.reports.requirements import REQUIREMENTS

        context = self.loop.context
        try:
            if exitstatus == pytest.ExitCode.INTERRUPTED:
                context.journal.append("interrupted", **self.config.stash[INTERRUPTION].event())
            elif self.loop.attempts:
                self.loop.analyse()
        except (GateError, OSError) as error:
            self.note_unwritten(session, error)
        self.outcome = decide_outcome(
            self.loop,
            self.findings,
            self.deselected,
            self._unreached(),
            exitstatus=exitstatus,
            page_expected=self.page is not None,
            kind=context.settings.profile.kind,
            explicit=self.explicit,
            not_asked=[id for id in REQUIREMENTS if id not in self._carried and id not in CHECKED_AT_THE_END],
            watched=long_watch(context.layout),
        )
        session.exitstatus = self.outcome.exit_status
        try:
            self._record(self.outcome)
            self.written = write_reports(context.layout.project_root, context.layout.root)
        except (GateError, OSError) as error:
            # A full disk must not hide the verdict: it stands on the terminal, and a resumed run writes the rest.
            self.note_unwritten(session, error)

    def _record(self, outcome: RunOutcome) -> None:
        assert self.loop is not None
        journal = self.loop.context.journal
        for test, one in outcome.findings:
            journal.append(
                "requirement", id=one.id, test=test, verdict=one.verdict, reason=one.reason, evidence=one.evidence
            )
        self.record_end()

    def record_end(self) -> None:
        """Journal the outcome that stands."""
        assert self.loop is not None
        assert self.outcome is not None
        self.loop.context.journal.append(
            "run_finished",
            status=self.outcome.status,
            sentence=self.outcome.sentence,
            exit_status=self.outcome.exit_status,
            seconds=time.monotonic() - self._began,
        )

    def note_unwritten(self, session: pytest.Session, error: Exception) -> None:
        """A part of the record that could not be written: it is told on the terminal, and no such session passes."""
        self.record_problem = self.record_problem or str(error)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _unreached(self) -> dict[str, str]:
        """Requirements of selected tests that did not run: the session ended before them."""
        return {
            id: item.nodeid
            for item in self._selected
            if item.nodeid not in self.findings
            for id in requirement_ids(item)
        }

    def check_artifacts(self, session: pytest.Session) -> None:
        """After the page was written: what is missing makes the session fail."""
        if self.loop is None or self.outcome is None:
            return
        try:
            self._check_artifacts(session, self.loop.context, self.outcome)
        except (GateError, OSError) as error:
            self.note_unwritten(session, error)
        self.loop.close()

    def _check_artifacts(self, session: pytest.Session, context: RunContext, outcome: RunOutcome) -> None:
        from tinyworlds_gate.reports.missing import missing_reports

        for id, path in self.written.items():
            context.journal.append("report_written", id=id, path=path)
        if self.page is not None and self.page.exists():
            context.journal.append("report_written", id="A8", path=self.page)
        if outcome.complete:
            self.missing = missing_reports(context.layout.project_root, context.layout.root, self.page)
            if self.missing and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def close(self) -> None:
        """Whatever happened: the project is free for the next run."""
        if self.loop is not None:
            self.loop.close()


SESSION = pytest.StashKey[GateSession]()
