"""What a plugin must keep to be registered: the rules of its module, and of each class that its hooks hand over."""

from __future__ import annotations

import inspect
import re
import warnings
from types import MappingProxyType
from typing import Any

import attrs
import pluggy
from attrs import frozen

from mmframe.covariance.parameterization import Parameterization, Scale
from mmframe.covariance.structure import CovarianceStructure, IndexKind
from mmframe.errors import PluginError, nearest
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry import hookspecs

STRUCTURE, PARAMETERIZATION, STAGE = "covariance structure", "parameterization", "stage"
NAME = re.compile(r"[a-z][a-z0-9_]*")

# Each kind: the hook that hands its classes over, and what they derive from.
KINDS = MappingProxyType(
    {
        STRUCTURE: ("mmframe_covariance_structures", CovarianceStructure),
        PARAMETERIZATION: ("mmframe_parameterizations", Parameterization),
        STAGE: ("mmframe_optimizer_stages", OptimizerStage),
    }
)
# Class attributes that have no default, and what they may be.
_DECLARED: dict[str, dict[str, type]] = {
    STRUCTURE: {"index_kind": IndexKind},
    PARAMETERIZATION: {"scale": Scale},
    STAGE: {"bounded": bool, "finishes": bool},
}
# What a document or a formula writes beside the options.
_TAKEN = ("name", "by")


@frozen
class Offer:
    """A class that a plugin hands over: its kind, bare name and aliases."""

    kind: str
    name: str
    aliases: tuple[str, ...]
    cls: type


def new_manager(specs: Any = hookspecs) -> pluggy.PluginManager:
    """A manager that knows the hooks of a module of specifications."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(specs)
    return manager


def examine(plugin: Any, specs: Any = hookspecs) -> tuple[tuple[str, ...], tuple[Offer, ...]]:
    """(the hooks that a module, or object, implements; the classes that they hand over), in a manager of its own.

    Raises PluginError where a hook is misspelt, not marked, takes unknown arguments, where there is none, and where a class
    breaks a rule. A hook itself may raise anything.
    """
    known = hookspecs.hooks_of(specs)
    if type(plugin).__hash__ is None or isinstance(plugin, type) or inspect.isroutine(plugin):
        what = "a class" if isinstance(plugin, type) else f"a {type(plugin).__name__}"
        raise PluginError(
            f'its entry point names {what}; allowed: the module with the hooks, `name = "package.module"`'
        )
    manager = new_manager(specs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pluggy says of deprecated hooks it says again at the registration
            manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        said = str(problem).replace("\n", " ")
        raise PluginError(f"{said} · {_hint(plugin, known)}") from None
    hooks = tuple(name for name in known if getattr(manager.hook, name).get_hookimpls())
    functions = [name for name in dir(plugin) if name.startswith(f"{hookspecs.PROJECT}_")]
    loose = [name for name in functions if name not in hooks and inspect.isroutine(getattr(plugin, name))]
    if loose and loose[0] in known:
        raise PluginError(f"{loose[0]} is not marked as a hook · write @hookimpl above it, from mmframe.api")
    if loose or not hooks:
        what = f"{loose[0]} is not a hook" if loose else "it implements no hook"
        raise PluginError(f"{what} · {_hint(plugin, known)}")
    return hooks, _offers(manager, hooks)


def _hint(plugin: Any, known: tuple[str, ...]) -> str:
    names = [n for n in dir(plugin) if n.startswith(f"{hookspecs.PROJECT}_") and n not in known]
    near = nearest(names[0], known) if names else ""
    return f"{near} · hooks: {', '.join(known)}".removeprefix(" · ")


def _offers(manager: pluggy.PluginManager, hooks: tuple[str, ...]) -> tuple[Offer, ...]:
    out: list[Offer] = []
    for kind, (hook, _) in KINDS.items():
        answers = getattr(manager.hook, hook)() if hook in hooks else []
        if hook in hooks and not answers:
            raise PluginError(f"{hook} gave None; allowed: a list of classes · return it")
        for given in answers:
            if isinstance(given, type) or not isinstance(given, (list, tuple)):
                raise PluginError(f"{hook} gave {given!r}; allowed: a list of classes")
            out += [offer(kind, cls) for cls in given]
    for one in out:
        others = [o for o in out if o.kind == one.kind and o.cls is not one.cls]
        shared = {one.name, *one.aliases} & {name for o in others for name in (o.name, *o.aliases)}
        if shared:
            raise PluginError(f"two classes are called {shared.pop()!r} · each needs a name of its own")
    return tuple(dict.fromkeys(out))


def offer(kind: str, given: Any) -> Offer:
    """The class, where it keeps the rules of its kind. Raises PluginError."""
    base: Any = KINDS[kind][1]
    cls: type | None = given if isinstance(given, type) else None
    if cls is None or not issubclass(cls, base):
        hint = f" · give the class, {type(given).__name__}" if isinstance(given, base) else ""
        raise PluginError(f"{KINDS[kind][0]} gave {given!r}; allowed: classes derived from {base.__name__}{hint}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise PluginError(f"{cls.__name__} lacks the methods {missing}")
    aliases = getattr(cls, "aliases", ())
    if not isinstance(aliases, tuple):
        raise PluginError(f"{cls.__name__} has the aliases {aliases!r}; allowed: a tuple of names")
    for name in (getattr(cls, "name", None), *aliases):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise PluginError(f"{cls.__name__} has the name {name!r}; allowed: ^{NAME.pattern}$")
    for attribute, allowed in _DECLARED[kind].items():
        if not isinstance(getattr(cls, attribute, None), (allowed, property)):  # a property of the options
            now = repr(getattr(cls, attribute)) if hasattr(cls, attribute) else "nothing"
            raise PluginError(f"{cls.__name__} declares {attribute} = {now}; allowed: {_named(allowed)}")
    taken = [option for option in options_of(cls) if option in _TAKEN]
    if taken:
        raise PluginError(f"{cls.__name__} has the option {taken[0]!r}, which documents use for something else")
    return Offer(kind, cls.name, aliases, cls)  # type: ignore[attr-defined]


def _named(allowed: type) -> str:
    members = getattr(allowed, "__members__", None)
    return "True or False" if members is None else ", ".join(members)


def options_of(cls: type) -> dict[str, Any]:
    """Option names with their defaults (attrs.NOTHING where there is none)."""
    if not attrs.has(cls):
        return {}
    return {f.alias or f.name: f.default for f in attrs.fields(cls) if f.init}
