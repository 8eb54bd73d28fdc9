"""Commands on models: fit, compare, check, describe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from mmframe.comparison import compare as compare_fits
from mmframe.errors import UnknownNameError, unknown
from mmframe.model import build
from mmframe.registry.registry import Entry, Registry
from mmframe.registry.rules import KINDS
from mmframe.resolution import resolve
from mmframe.results.bundle import write_bundle
from mmframe.results.description import describe_spec
from mmframe.results.law import DF
from mmframe.results.result import FitResult
from mmframe.spec.model import ModelSpec
from mmframe.spec.yaml_text import load_spec

OK, NOT_CONVERGED = 0, 3


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
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
