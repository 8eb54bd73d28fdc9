"""Each hook: documented with its exact signature, and called with it."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import pytest

import mmframe as mm
from mmframe.api import Model, StageOutcome, TraceRow, hookimpl
from mmframe.plugins.parameterizations.natural import Natural
from mmframe.plugins.stages.newton import Newton
from mmframe.plugins.structures.ar1 import AR1
from mmframe.registry import hookspecs, loader
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Registry
from mmframe.registry.rules import KINDS
from tests.environments import ROOT

HOOKS = hookspecs.hooks_of(hookspecs)
PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")

# What each collecting hook may give, under a name of its own, and where it is then found.
GIVEN = {
    "mmframe_covariance_structures": (STRUCTURE, type("Mine", (AR1,), {"name": "mine", "aliases": ()})),
    "mmframe_parameterizations": (PARAMETERIZATION, type("Mine", (Natural,), {"name": "mine", "aliases": ()})),
    "mmframe_optimizer_stages": (STAGE, type("Mine", (Newton,), {"name": "mine", "aliases": ()})),
}
# What each observing hook is called with.
SHOWN = {
    "mmframe_fit_started": {"model": Model},
    "mmframe_iteration": {"row": TraceRow},
    "mmframe_stage_finished": {"name": str, "outcome": StageOutcome, "value": float},
    "mmframe_fit_finished": {"result": mm.FitResult},
}


def registered(plugin: Any) -> Registry:
    record = loader.examined(loader.PluginRecord("mine", "my-package", "1.0", None, plugin))
    assert record.error is None
    return Registry.from_records((*loader.built_ins(), record))


def test_every_hook_is_tested_here() -> None:
    assert {*GIVEN, *SHOWN} == set(HOOKS)
    assert {hook for hook, _ in KINDS.values()} == set(GIVEN)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    section = re.search(rf"^## {hook}\n\n```text\n(.*?)\n```", PAGE, flags=re.MULTILINE)
    assert section is not None, f"docs/reference/hooks.md has no section {hook}"
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert section[1] == f"{hook}{signature}"
    assert inspect.getdoc(getattr(hookspecs, hook))


@pytest.mark.parametrize("hook", GIVEN)
def test_a_hook_that_gives_classes(hook: str) -> None:
    kind, cls = GIVEN[hook]
    module = types.ModuleType("mine")
    setattr(module, hook, hookimpl(lambda: [cls]))
    registry = registered(module)
    for name in ("mine", "my-package/mine"):
        assert registry.find(kind, name, "test").cls is cls


@pytest.mark.parametrize("hook", SHOWN)
def test_a_hook_that_observes(hook: str) -> None:
    assert list(inspect.signature(getattr(hookspecs, hook)).parameters) == list(SHOWN[hook])
    heard: list[dict[str, Any]] = []
    names = ", ".join(SHOWN[hook])
    namespace: dict[str, Any] = {"heard": heard}
    exec(f"def {hook}({names}): heard.append(dict({', '.join(f'{n}={n}' for n in SHOWN[hook])}))", namespace)
    module = types.ModuleType("watch")
    setattr(module, hook, hookimpl(namespace[hook]))
    builder = mm.ModelBuilder(registry=registered(module)).fixed("Reaction ~ Days + (Days | Subject)")
    builder.build(mm.datasets.load("sleepstudy")).fit()
    assert heard
    for said in heard:
        assert {name: type(value) for name, value in said.items()} == SHOWN[hook]
