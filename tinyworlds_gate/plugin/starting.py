"""What a session starts its run from: the checkout that is named, and the context of a new or a resumed run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.config.names import TARGET_OPTIONS
from tinyworlds_gate.errors import GateError

if TYPE_CHECKING:
    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.plugin.session import GateSession
    from tinyworlds_gate.stages.context import RunContext
    from tinyworlds_gate.targets.base import Target


def chosen_checkout(explicit: Mapping[str, Any]) -> Target | None:
    """The checkout that the options name; most sessions name none, and import nothing for it."""
    if not any(name in explicit for name in TARGET_OPTIONS):
        return None
    from tinyworlds_gate.loop_target import chosen_target

    try:
        return chosen_target(explicit)
    except GateError as error:
        raise pytest.UsageError(str(error)) from error


def start_context(session: GateSession, settings: Settings, gpus: int) -> RunContext:
    """The context of the session's run; it is started, or gone on with.

    Raises:
        GateError: the run cannot be started.
    """
    from tinyworlds_gate.loop_start import resume_run, start_run

    command = ["pytest", *map(str, session.config.invocation_params.args)]
    say, show = session.voice.say, session.voice.progress
    if session.resumed is not None:
        return resume_run(
            settings, gpus, session.resumed, command=command, say=say, show_progress=show, checkout=session.checkout
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
