"""Writes a new plugin package from the files beside this one."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from mmframe import __version__, api
from mmframe.errors import Issue, SpecError
from mmframe.registry.loader import BUILT_IN
from mmframe.registry.registry import installed_registry
from mmframe.registry.rules import KINDS, PARAMETERIZATION, STAGE, STRUCTURE
from mmframe.spec.model import COMBINATORS

# What a package may offer, and the kind of name that it registers.
PARTS = {"structure": STRUCTURE, "parameterization": PARAMETERIZATION, "stage": STAGE}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_PREFIX = re.compile(r"^mmframe[-_]")
_OTHER = "choose another name"
_LITERALS = ("none", "true", "false")


def _class_name(own: str) -> str:
    return "".join(word.capitalize() for word in own.split("_"))


def write_plugin(name: str, part: str, into: Path) -> Path:
    """A package called `name` in a new folder of that name; returns the folder.

    part: `structure`, `parameterization` or `stage`, one of which it offers, named after the package without `mmframe-`.
    Raises SpecError: a name that cannot be one, or is taken; a folder that is there already.
    """
    if not _NAME.fullmatch(name):
        allowed = "lower-case letters, digits and hyphens, a letter first"
        raise SpecError(Issue("new-plugin", repr(name), allowed, "such as mmframe-damped"))
    own = _PREFIX.sub("", name).replace("-", "_")
    module = name.replace("-", "_")
    if own in COMBINATORS or own in _LITERALS or keyword.iskeyword(module) or not own.isidentifier():
        raise SpecError(Issue("new-plugin", f"{own!r} means something else in Python or in formulas", "", _OTHER))
    if _class_name(own) in {*api.__all__, "Squared"}:
        raise SpecError(Issue("new-plugin", f"{_class_name(own)} is a class of mmframe.api", "", _OTHER))
    taken = {e.name for e in installed_registry().entries if e.distribution == BUILT_IN and e.kind == PARTS[part]}
    taken |= {a for e in installed_registry().entries if e.distribution == BUILT_IN for a in e.aliases}
    if own in taken or own == BUILT_IN:
        raise SpecError(Issue("new-plugin", f"{own!r} is the name of a built-in", "", _OTHER))
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise SpecError(Issue("new-plugin", f"a module {module!r} is installed already", "", _OTHER))
    folder = into / name
    if folder.exists():
        raise SpecError(Issue("new-plugin", f"{folder} is there already", "", "choose another name, or move it away"))
    words = {
        "distribution": name,
        "module": module,
        "name": own,
        "Class": _class_name(own),
        "file": part,
        "kind": PARTS[part],
        "hook": KINDS[PARTS[part]][0],
        "version": __version__,
    }
    for source in ("common", part):
        _write(files("mmframe.template") / "files" / source, folder, words)
    return folder


def _write(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """Every file under `source`, names and texts filled in. The names end in .txt, so that no tool takes them for code."""
    for each in source.iterdir():
        name = Template(each.name.removesuffix(".txt").replace("__module__", words["module"])).substitute(words)
        if each.is_dir():
            _write(each, target / name, words)
        else:
            target.mkdir(parents=True, exist_ok=True)
            text = Template(each.read_text(encoding="utf-8")).substitute(words)
            (target / name).write_text(text, encoding="utf-8")
