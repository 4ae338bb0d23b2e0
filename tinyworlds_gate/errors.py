"""The errors that a user reads: what is wrong, the value, what is allowed, the fix."""

from __future__ import annotations


class GateError(Exception):
    """A mistake or a fault told in a sentence for the person who runs the gate.

    The message names the setting or file, the value found, what is allowed and the fix. It is shown
    without a traceback; anything that is not a ``GateError`` is a defect of ours and keeps its traceback.
    """


class ConfigError(GateError):
    """A configuration file or option is wrong; nothing has been started."""


class DataError(GateError):
    """A frames file is missing, truncated, empty or of the wrong shape."""


class TooFewClipsError(DataError):
    """The held-out episodes hold too few clips for the verdicts that a run may need; nothing can be claimed then."""


class CheckpointError(GateError):
    """A checkpoint cannot be trusted; the message says which file and why."""


class DivergedWeightsError(CheckpointError):
    """The weights of a checkpoint are NaN or infinite: the file is whole, the training was not."""


class LaunchError(GateError):
    """A child process could not be started, or another run holds the project."""


class DiskError(GateError):
    """A disk takes nothing more or cannot be written; what was written before stays."""


class TrainingError(GateError):
    """A training or inference stage stopped for a reason that it can name."""
