"""The installed pytest plugin: loads `tinyworlds_gate.plugin` in sessions that run the packaged validation tests.

    pytest --pyargs tinyworlds_gate.validation -m smoke

Every other session gets this module and nothing else: no option, no marker, no other import. It declares the two hooks
of docs/extending.md, so that a `conftest.py` with them also works there. Where a `conftest.py` loads the plugin, this
module keeps the values of its options from being read as test paths (`option_values.py`).
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tinyworlds_gate.autoload.option_values import OptionValues
    from tinyworlds_gate.gate.extension import ClipMetric

PACKAGE = "tinyworlds_gate"
PLUGIN = f"{PACKAGE}.plugin"


class Hooks:
    """The hooks that a project's `conftest.py` can implement (docs/extending.md)."""

    @pytest.hookspec
    def pytest_tinyworlds_gate_conditions(self) -> list[ClipMetric]:
        """Return conditions to add to the gate; each has a limit, and a PASS requires all of them."""
        raise NotImplementedError

    @pytest.hookspec
    def pytest_tinyworlds_gate_metrics(self) -> list[ClipMetric]:
        """Return metrics that the reports show; they have no limit and do not change the verdict."""
        raise NotImplementedError


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks, once: `tinyworlds_gate.plugin` calls this too."""
    known = getattr(pluginmanager.hook, Hooks.pytest_tinyworlds_gate_conditions.__name__, None)
    if known is None or not known.has_spec():
        pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Load the plugin where `--pyargs` names a module of this package; a `conftest.py` may load it again.

    Raises:
        pytest.UsageError: another plugin or a conftest.py has an option of the same name, or pytest has read a settings
            file to which only the value of one of our options leads.
    """
    plugins = early_config.pluginmanager
    try:
        if _names_this_package(early_config):
            plugins.import_plugin(PLUGIN)
        values = _option_values(early_config, parser, args)
        result = yield
    except argparse.ArgumentError as error:
        raise pytest.UsageError(
            f"{error}: tinyworlds_gate and another plugin or conftest.py both define it. Add --noconftest, or "
            "-p no:NAME with the other plugin's name, to the command."
        ) from None
    if values is not None and plugins.hasplugin(PLUGIN):
        values.settle_root()
    return result


def _option_values(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> OptionValues | None:
    """Leave the values of our options out of the test paths; None where every option is one of other plugins."""
    _, unknown = parser.parse_known_and_unknown_args(args, namespace=copy.copy(config.option))
    if not unknown and not config.pluginmanager.hasplugin(PLUGIN):
        return None
    from tinyworlds_gate.autoload.option_values import OptionValues

    values = OptionValues(config, args)
    values.leave_out()
    return values


def _names_this_package(config: pytest.Config) -> bool:
    known = config.known_args_namespace
    if not known.pyargs:
        return False
    # Both: before the plugin's options are known, the value of one of them looks like a path.
    names = [*known.file_or_dir, *config.getini("testpaths")]
    return any(name.partition("::")[0].partition(".")[0] == PACKAGE for name in names)
