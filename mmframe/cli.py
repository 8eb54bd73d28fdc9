"""The command line: fit, compare, check, plugins, describe, conformance."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click
from rich.console import Console
from rich.table import Table

from mmframe import __version__
from mmframe.comparison import compare as compare_fits
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import MmframeError, SpecError, UnknownNameError, unknown
from mmframe.model import build
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.registry import (
    PARAMETERIZATION,
    STAGE,
    STRUCTURE,
    Entry,
    Registry,
    default_registry,
    strict_registry,
)
from mmframe.resolution import resolve
from mmframe.results.bundle import write_bundle
from mmframe.results.description import describe_spec
from mmframe.results.law import DF
from mmframe.results.result import FitResult
from mmframe.spec.model import ModelSpec
from mmframe.spec.yaml_text import load_spec

KINDS = (STRUCTURE, PARAMETERIZATION, STAGE)
OK, FAILED, NOT_CONVERGED = 0, 1, 3


def _fail(problem: MmframeError) -> NoReturn:
    lines = [str(i) for i in problem.issues] if isinstance(problem, SpecError) else [str(problem)]
    for line in lines:
        click.echo(f"error: {line}", err=True)
    sys.exit(FAILED)


class _Group(click.Group):
    """Errors that mmframe raises on purpose are messages, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MmframeError as problem:
            if os.environ.get("MMFRAME_TRACEBACK"):
                traceback.print_exc()
            _fail(problem)
        except OSError as problem:
            click.echo(f"error: {problem}", err=True)
            sys.exit(FAILED)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="mmframe")
@click.option("--strict-plugins", is_flag=True, help="A plugin package that fails to load is an error.")
@click.pass_context
def main(ctx: click.Context, strict_plugins: bool) -> None:
    """Linear mixed-effects models from YAML specifications."""
    ctx.obj = strict_registry() if strict_plugins else default_registry()


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), help="A table in place of the one that the specification names."
)
@click.option("--df", type=click.Choice(DF), default="normal", help="Degrees of freedom of the fixed effects.")
@click.option("--trace", is_flag=True, help="Print the trace of the stages.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--save", "target", type=click.Path(path_type=Path), help="Write the fit to this file.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Write a bundle to this folder.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
@click.pass_obj
def fit(
    registry: Registry,
    spec: Path,
    data: Path | None,
    df: str,
    trace: bool,
    as_json: bool,
    target: Path | None,
    bundle: Path | None,
    quiet: bool,
) -> None:
    """Fit the model of SPEC, a YAML file; exit code 3 where the fit did not converge."""
    asked = load_spec(spec)
    if data is not None:
        asked = attrs.evolve(asked, data=str(data))
    found = build(asked, None, registry).fit(progress=not quiet)
    if target is not None:  # before anything is printed, so that a fit is not lost to what cannot be shown
        found.save(target)
    folder = bundle or (None if asked.output.bundle is None else spec.parent / asked.output.bundle)
    if folder is not None:
        write_bundle(found, folder)
        if not quiet:
            click.echo(f"bundle: {folder}", err=True)
    if as_json and not quiet:
        click.echo(json.dumps(as_document(found, df), indent=2))
    elif asked.output.summary and not quiet:
        click.echo(found.summary(df))
    if trace and not quiet and not as_json:
        click.echo("\nTrace\n" + found.trace.to_string(index=False))
    sys.exit(OK if found.converged else NOT_CONVERGED)


@main.command()
@click.argument("specs", metavar="SPEC SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="A table in place of those that the specifications name.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=1),
    metavar="N",
    help="Test also by N responses drawn from the simpler model.",
)
@click.option("--seed", type=click.IntRange(min=0), help="The seed of --bootstrap.")
@click.pass_obj
def compare(
    registry: Registry,
    specs: tuple[Path, ...],
    data: Path | None,
    as_json: bool,
    bootstrap: int | None,
    seed: int | None,
) -> None:
    """Fit the models of two or more files and print their likelihood-ratio table; exit code 3 where one did not converge."""
    if len(specs) < 2:
        raise click.UsageError("compare takes two or more specifications")
    asked = [load_spec(spec) for spec in specs]
    if data is not None:
        asked = [attrs.evolve(one, data=str(data)) for one in asked]
    fits = [build(one, None, registry).fit(progress=True) for one in asked]
    table = compare_fits(*fits, bootstrap=bootstrap, seed=seed, progress=True)
    if as_json:
        click.echo(json.dumps(plain(table.rename_axis("formula").reset_index().to_dict("records")), indent=2))
    else:
        click.echo("\n".join(f"{n}  {formula}" for n, formula in enumerate(table.index, start=1)))
        click.echo("\n" + table.set_axis(range(1, len(table) + 1)).to_string(na_rep="", float_format="{:.6g}".format))
    sys.exit(OK if all(found.converged for found in fits) else NOT_CONVERGED)


def plain(value: Any) -> Any:
    """Plain values of JSON; numbers that are not finite become null."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value


def as_document(found: FitResult, df: str = "normal") -> dict[str, Any]:
    """A result as plain values, for other programs; numbers that are not finite become null."""
    document = {
        "formula": found.formula,
        **found.glance().iloc[0].to_dict(),
        "stop_reason": found.stop_reason,
        "engine": found.diagnostics.engine,
        "evaluations": found.diagnostics.evaluations,
        "seconds": found.diagnostics.seconds,
        "phases": found.diagnostics.phases["seconds"].to_dict(),
        "rows_dropped": found.estimates.n_missing,
        "columns_dropped": list(found.dropped),
        "fixed_effects": found.coefficients(df).T.to_dict(),
        "parameters": found.parameters.to_dict("records"),
        "trace": found.trace.to_dict("records"),
        "versions": found.estimates.versions,
    }
    out = plain(document)
    assert isinstance(out, dict)
    return out


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.pass_obj
def check(registry: Registry, spec: Path) -> None:
    """Validate SPEC, and its data where it names a file, without fitting."""
    asked = load_spec(spec)
    resolved = resolve(asked, registry)
    if asked.data is None:
        click.echo(f"{spec}: the specification is valid; it names no data")
        return
    model = build(asked, None, registry)
    click.echo(
        f"{spec}: valid · {model.design.n} rows, {model.design.n_missing} dropped, {model.design.p} fixed effects,"
        f" {sum(t.size for t in model.covariance.terms)} covariance parameters and σ², engine {model.engine.name},"
        f" stages {', '.join(s.name for s in resolved.stages)}"
    )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def plugins(registry: Registry, as_json: bool) -> None:
    """List what is registered, and the plugin packages that failed to load."""
    failed = [r for r in registry.records if r.error]
    if as_json:
        rows = [
            {
                "kind": e.kind,
                "name": e.name,
                "aliases": list(e.aliases),
                "distribution": e.distribution,
                "version": e.version,
            }
            for e in registry.entries
        ]
        broken = [{"name": r.name, "distribution": r.distribution, "error": r.error} for r in failed]
        click.echo(json.dumps({"registered": rows, "failed": broken}, indent=2))
        return
    table = Table("kind", "name", "aliases", "from")
    for kind in KINDS:
        for e in sorted(registry.of_kind(kind), key=lambda e: e.qualified):
            table.add_row(kind, e.name, ", ".join(e.aliases), f"{e.distribution} {e.version}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    for r in failed:
        click.echo(f"failed: {r.name} of {r.distribution} {r.version}: {r.error}", err=True)


@main.command()
@click.argument("name", metavar="NAME|SPEC")
@click.pass_obj
def describe(registry: Registry, name: str) -> None:
    """Describe a registered NAME (structure, parameterization, stage), or how the model of SPEC, a file, is computed."""
    if name.lower().endswith((".yaml", ".yml")) or Path(name).is_file():
        _describe_spec(registry, load_spec(name))
        return
    found = [_found(registry, kind, name) for kind in KINDS]
    entries = [e for e in found if e is not None]
    if not entries:
        raise UnknownNameError(unknown("describe", "plugin", name, [n for kind in KINDS for n in registry.names(kind)]))
    for entry in entries:
        click.echo(f"{entry.name} ({entry.kind}, {entry.qualified} {entry.version})")
        if entry.aliases:
            click.echo(f"  aliases: {', '.join(entry.aliases)}")
        for option, default in entry.options.items():
            click.echo(f"  option {option}: " + ("required" if default is attrs.NOTHING else f"default {default!r}"))
        for attribute in ("index_kind", "scale", "bounded", "finishes"):
            if hasattr(entry.cls, attribute):
                value = getattr(entry.cls, attribute)
                click.echo(f"  {attribute}: {getattr(value, 'value', value)}")
        for line in (entry.cls.__doc__ or "").strip().splitlines():
            click.echo(f"  {line.strip()}")


def _found(registry: Registry, kind: str, name: str) -> Entry | None:
    try:
        return registry.find(kind, name, "describe")
    except UnknownNameError:
        return None


def _describe_spec(registry: Registry, spec: ModelSpec) -> None:
    if spec.data is None:
        click.echo(describe_spec(spec, resolve(spec, registry)))
        click.echo("data         none named; the engine is chosen when they are given")
        return
    click.echo(build(spec, None, registry).describe())


@main.command()
@click.argument("target")
def conformance(target: str) -> None:
    """Run the conformance kit on TARGET, written module:Object (a class, or an instance with its options)."""
    from mmframe.testing import check

    module, colon, attribute = target.partition(":")
    if not colon:
        raise click.UsageError("TARGET is written module:Object")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
        plugin = found() if isinstance(found, type) else found
    except Exception as problem:  # importing somebody's module may raise anything
        raise click.UsageError(f"{target}: {type(problem).__name__}: {problem}") from None
    if not isinstance(plugin, (CovarianceStructure, Parameterization, OptimizerStage)):
        raise click.UsageError(f"{target} is not a covariance structure, a parameterization or an optimizer stage")
    try:
        done = check(plugin)
    except Exception as problem:  # so may its methods
        click.echo(f"FAILED: {type(problem).__name__}: {problem}", err=True)
        sys.exit(FAILED)
    for line in done:
        click.echo(f"ok  {line}")


if __name__ == "__main__":
    main()
