"""The plugin surface is recorded: any change to a name or a signature shows here."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
import types
import warnings

import pluggy
import pytest

import mmframe.api
from mmframe.registry import hookspecs, loader
from mmframe.registry.registry import Registry
from mmframe.registry.rules import examine, new_manager
from tests.environments import ROOT
from tests.registry.surface import RECORDED, lines

REFERENCE = ROOT / "docs" / "reference" / "public-surface.md"


def test_the_surface_is_as_recorded() -> None:
    """What is new may be added to the record (`python -m tests.registry.surface`); what plugins use already must stay until the
    next version of the surface (docs/reference/hooks.md, "Versions")."""
    recorded = RECORDED.read_text(encoding="utf-8").splitlines()
    changed = list(difflib.unified_diff(recorded, lines(), "recorded", "now", lineterm="", n=1))
    assert not changed, "\n".join(changed)


def test_the_record_would_show_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lines()

    def lags(index: object, absolute: bool = True) -> object:
        return index

    monkeypatch.setattr(mmframe.api, "lags", lags)
    monkeypatch.delattr(mmframe.api.CovarianceStructure, "report")
    changed = [line for line in difflib.ndiff(before, lines()) if line[0] in "+-"]
    assert [line[:2] + line[2:].strip().partition("(")[0] for line in changed] == [
        "-   report".replace("   ", " "),
        "- mmframe.api.lags",
        "+ mmframe.api.lags",
    ]


def test_every_name_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    section = text[text.index("## mmframe.api") :]
    for name in mmframe.api.__all__:
        assert re.search(rf"`{name}`", section), f"{name} is not in {REFERENCE.name}"


def test_the_surface_is_all_that_a_plugin_needs_and_imports_alone() -> None:
    code = "import mmframe.api; print(mmframe.api.API_VERSION)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == str(hookspecs.API_VERSION), done.stderr


OLD = types.ModuleType("old_specs")
OLD.mmframe_fit_started = hookspecs.mmframe_fit_started  # type: ignore[attr-defined]


@hookspecs.hookspec(warn_on_impl=DeprecationWarning("mmframe_gone goes in 0.3 · use mmframe_fit_started"))
def mmframe_gone() -> None:
    """A hook that goes."""


@hookspecs.hookspec(warn_on_impl_args={"reml": DeprecationWarning("reml goes in 0.3 · read result.spec.reml")})
def mmframe_changed(result: object, reml: bool) -> None:
    """A hook of which an argument goes."""


OLD.mmframe_gone, OLD.mmframe_changed = mmframe_gone, mmframe_changed  # type: ignore[attr-defined]


def test_deprecation_by_pluggy_reaches_the_author_once() -> None:
    """The means that docs/reference/hooks.md promises: the plugin works, and is warned at its own line."""

    class Plugin:
        @mmframe.api.hookimpl
        def mmframe_gone(self) -> None: ...

        @mmframe.api.hookimpl
        def mmframe_changed(self, reml: bool) -> None: ...

    plugin = Plugin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hooks, _ = examine(plugin, OLD)  # looking is silent
    assert set(hooks) == {"mmframe_gone", "mmframe_changed"}
    manager = new_manager(OLD)
    with pytest.warns(DeprecationWarning, match="goes in 0.3") as said:
        manager.register(plugin)
    assert sorted(str(w.message) for w in said) == [
        "mmframe_gone goes in 0.3 · use mmframe_fit_started",
        "reml goes in 0.3 · read result.spec.reml",
    ]
    assert {w.filename for w in said} == {__file__}


def test_a_hook_may_gain_arguments_without_breaking_a_plugin() -> None:
    """pluggy passes each implementation the arguments that it names, and no others."""
    heard = []

    class Plugin:
        @mmframe.api.hookimpl
        def mmframe_stage_finished(self, name: str) -> None:
            heard.append(name)

    records = (*loader.built_ins(), loader.examined(loader.PluginRecord("p", "p", "1", None, Plugin())))
    registry = Registry.from_records(records)
    registry.observers().tell("mmframe_stage_finished", name="em", outcome=None, value=0.0)
    assert heard == ["em"]
    assert isinstance(registry.manager, pluggy.PluginManager)
