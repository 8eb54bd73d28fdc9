"""Lines of JSON: whole, in order, told apart by fit, and read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mmframe_trace
import pytest

import mmframe as mm

FORMULA = "Reaction ~ Days + (Days | Subject)"
DATA = mm.datasets.load("sleepstudy")


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_fit_is_told_from_beginning_to_end(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    with mmframe_trace.recording(path):
        fit = mm.fit(FORMULA, DATA, stages=["em", "newton"])
    found = events(path)
    first, last = found[0], found[-1]
    assert first["event"] == "fit_started" and first["rows"] == 180 and first["stages"] == ["em", "newton"]
    assert (
        first["formula"] == "Reaction ~ Days" and first["random"] == ["Days | Subject"] and first["criterion"] == "reml"
    )
    assert last["event"] == "fit_finished" and last["converged"] is True
    assert last["loglike"] == fit.loglike
    assert last["parameters"]["sigma"] == float(fit.parameters.set_index("name").loc["sigma", "estimate"])
    assert [e["stage"] for e in found if e["event"] == "stage_finished"] == ["em", "newton"]
    assert len({e["fit"] for e in found}) == 1 and {e["process"] for e in found} == {os.getpid()}


def test_the_iterations_are_those_of_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    with mmframe_trace.recording(path):
        fit = mm.fit(FORMULA, DATA, stages=["em", "lbfgs"])
    table = mmframe_trace.read(path)
    wanted = fit.trace[fit.trace["stage"] != "start"].reset_index(drop=True)
    columns = ["stage", "iteration", "evaluations", "value"]
    assert table[columns].equals(wanted[columns])


def test_fits_are_told_apart_and_appended(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    for _ in range(2):
        with mmframe_trace.recording(path):
            mm.fit(FORMULA, DATA)
    assert [e["event"] for e in events(path)].count("fit_started") == 2
    assert mmframe_trace.read(path)["fit"].nunique() == 2


def test_outside_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    with mmframe_trace.recording(path):
        pass
    mm.fit(FORMULA, DATA)
    assert not path.exists()


def test_another_thread_is_not_watched(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    with mmframe_trace.recording(path):
        other = threading.Thread(target=mm.fit, args=(FORMULA, DATA))
        other.start()
        other.join()
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_one_warning_and_no_other_number(tmp_path: Path) -> None:
    plain = mm.fit(FORMULA, DATA, stages=["em", "newton"])
    with (
        mmframe_trace.recording(tmp_path / "no" / "such" / "folder.jsonl"),
        pytest.warns(UserWarning, match=r"mmframe-trace/trace failed in mmframe_fit_started.*No such file") as said,
    ):
        watched = mm.fit(FORMULA, DATA, stages=["em", "newton"])
    assert len(said) == 1
    assert watched.loglike == plain.loglike
    assert watched.parameters.equals(plain.parameters)
    columns = ["stage", "iteration", "evaluations", "value"]
    assert watched.trace[columns].equals(plain.trace[columns])


def test_a_file_that_vanishes_in_the_middle_is_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    path = folder / "fits.jsonl"

    def remove(row: Any) -> None:
        path.unlink(missing_ok=True)
        if folder.exists():
            folder.rmdir()

    builder = mm.ModelBuilder().fixed(FORMULA).stages("em", "newton")
    model = builder.build(DATA)
    with mmframe_trace.recording(path), pytest.warns(UserWarning, match="failed in mmframe_iteration") as said:
        found = model.fit(on_step=remove)
    assert len(said) == 1 and found.parameters.equals(model.fit().parameters)


def test_the_environment_names_a_file_for_the_command_line(tmp_path: Path) -> None:
    DATA.to_csv(tmp_path / "data.csv", index=False)
    spec = "mmframe: 1\ndata: data.csv\nformula: Reaction ~ Days\nrandom:\n  - Days | Subject\n"
    (tmp_path / "model.yaml").write_text(spec, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mmframe.cli", "fit", "model.yaml", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, "MMFRAME_TRACE": "fits.jsonl"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert events(tmp_path / "fits.jsonl")[-1]["converged"] is True


def test_a_fit_that_was_killed_leaves_a_trace_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    with mmframe_trace.recording(path):
        mm.fit(FORMULA, DATA, stages=["em", "newton"])
    whole = mmframe_trace.read(path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index('"event": "stage_finished"') + 5], encoding="utf-8")
    cut = mmframe_trace.read(path)
    assert 0 < len(cut) < len(whole) and cut.equals(whole.iloc[: len(cut)])


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '{"stage": "em"}'])
def test_a_line_that_is_no_event_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"event": "fit_started"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        mmframe_trace.read(path)


def test_an_empty_file_has_no_iterations(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    table = mmframe_trace.read(tmp_path / "empty.jsonl")
    assert len(table) == 0 and "value" in table
