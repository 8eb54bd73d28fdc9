"""A case of the conformance kit: one rule of an interface, and one plugin that has to keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from attrs import frozen

from mmframe.errors import SpecError, told, unknown


class ConformanceError(AssertionError):
    """A rule that a plugin breaks: what was found, what to do, and a line that shows it again."""


@frozen
class Rule:
    """name: by which it is asked for.   says: the rule, one sentence.   remedy: what to do where it is broken."""

    name: str
    says: str
    remedy: str


@frozen(eq=False)
class Case:
    """One rule on one plugin: `check()` passes, or raises ConformanceError. `str(case)` names it, for pytest."""

    plugin: Any
    rule: Rule
    run: Callable[[], None]
    sizes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.plugin.name}-{self.rule.name}"

    def check(self) -> None:
        """Raises ConformanceError where the plugin breaks the rule, or its own code raises."""
        try:
            self.run()
        except AssertionError as broken:
            cause: BaseException | None = None
            found, remedy = _one_line(str(broken)), self.rule.remedy
        except Exception as problem:  # somebody's method may raise anything
            found, cause, remedy = f"{self.plugin.name}: it raised {told(problem)}", problem, _RAISED
        else:
            return
        lines = [f"rule {self.rule.name!r}: {self.rule.says}", f"found: {found}", f"to do: {remedy}"]
        raise ConformanceError("\n".join([*lines, f"again: {self.again}"])) from cause

    @property
    def again(self) -> str:
        """One line of Python that runs this case alone."""
        sizes = f", sizes={self.sizes!r}" if self.sizes else ""
        expression, imports = written(self.plugin)
        return f"{imports}from mmframe.testing import check; check({expression}, rules=[{self.rule.name!r}]{sizes})"


_RAISED = "mend what raised; the traceback is above this message, and the rule is looked at after that"


def _one_line(text: str) -> str:
    return " · ".join(line.strip() for line in text.splitlines() if line.strip())


def written(value: Any) -> tuple[str, str]:
    """(the expression that makes a plugin again, the imports that it needs); its repr where it cannot be imported."""
    cls = type(value)
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        return repr(value), ""
    imports = f"from {cls.__module__} import {cls.__qualname__.split('.')[0]}; "
    given = []
    for each in attrs.fields(cls) if attrs.has(cls) else ():
        now = getattr(value, each.name)
        if each.init and now is not each.default and not _equal(now, each.default):
            inner, more = written(now) if attrs.has(type(now)) else (repr(now), "")
            imports += more
            given.append(f"{each.alias or each.name}={inner}")
    return f"{cls.__qualname__}({', '.join(given)})", imports


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return False


def chosen(cases: Iterable[Case], rules: Iterable[str] | None) -> list[Case]:
    """The cases of these rules, all without. Raises SpecError for a rule that does not exist."""
    every = list(cases)
    if rules is None:
        return every
    known = [c.rule.name for c in every]
    wanted = [rules] if isinstance(rules, str) else list(rules)
    wrong = [name for name in wanted if name not in known]
    if wrong:
        raise SpecError([unknown("rules", "rule", name, known) for name in wrong])
    return [c for c in every if c.rule.name in wanted]


def check_all(cases: Iterable[Case]) -> list[str]:
    """The rules that hold, as sentences. Raises ConformanceError at the first that does not."""
    done = []
    for case in cases:
        case.check()
        done.append(case.rule.says)
    return done
