"""Errors for users: what is wrong, the value, what is allowed, the fix."""

from __future__ import annotations


class GateError(Exception):
    """Base class of errors that are shown to the user as one sentence, without a traceback.

    The message names the setting or file, the value found, what is allowed and the fix. Any other exception is a bug
    in the harness and keeps its traceback.
    """


class ConfigError(GateError):
    """A configuration file or option is wrong; nothing has been started."""


class DataError(GateError):
    """A frames file is missing, truncated, empty or of the wrong shape."""


class TooFewClipsError(DataError):
    """The held-out episodes have too few clips for the verdicts that a run may need."""


class CheckpointError(GateError):
    """A checkpoint cannot be trusted; the message says which file and why."""


class DivergedWeightsError(CheckpointError):
    """The weights of a checkpoint are NaN or infinite: the file is intact, but the training diverged."""


class LaunchError(GateError):
    """A child process could not be started, or another run holds the project."""


class DiskError(GateError):
    """A disk is full or cannot be written; files written before are unchanged."""


class TrainingError(GateError):
    """A training or inference stage stopped for a known reason."""
