"""Benchmarks from the command line: `python contrib/benchmarks/run.py CASE ... --repeats 5 --systems a,b`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from threads import option, use_threads


def _arguments(cases: list[str], systems: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time mmframe and other systems side by side.", parents=[option()])
    parser.add_argument("case", nargs="+", choices=[*cases, "all"], metavar="CASE", help=f"all, {', '.join(cases)}")
    parser.add_argument("--repeats", type=int, default=5, help="timed fits of each system, after a warm-up (default 5)")
    parser.add_argument(
        "--budget",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="fit a system no more once its fits of a case have taken this long (default 60)",
    )
    parser.add_argument("--systems", default=",".join(systems), help="names with commas between (default: %(default)s)")
    parser.add_argument("--ignore-limits", action="store_true", help="also run systems on cases that take them minutes")
    parser.add_argument(
        "--memory", action="store_true", help="also measure peak memory, each system in its own process"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time to a file")
    given = parser.parse_args()
    unknown = [name for name in given.systems.split(",") if name not in systems]
    if unknown:
        parser.error(f"there is no system {unknown[0]!r}; there are {', '.join(systems)}")
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    return given


def _tell(line: str) -> None:
    # Remarks go to standard error: standard output holds the tables alone.
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    # These modules load numpy, which reads the number of threads as it loads.
    from adapters import ADAPTERS
    from cases import CASES
    from measure import measure
    from memory import add_memory
    from report import as_json, machine_line, markdown, text

    given = _arguments(list(CASES), list(ADAPTERS))
    adapters = []
    for name in given.systems.split(","):
        if ADAPTERS[name].available():
            adapters.append(ADAPTERS[name])
        else:
            _tell(f"{name}: skipped, it is not installed")
    print(machine_line(), flush=True)
    outcomes = []
    for name in CASES if "all" in given.case else given.case:
        case = CASES[name]()
        able = []
        for adapter in adapters:
            reason = adapter.unable(case) or ("" if given.ignore_limits else adapter.too_large(case))
            if reason:
                _tell(f"{name}: {adapter.name} skipped, {reason}")
            else:
                able.append(adapter)
        outcome = measure(case, able, given.repeats, given.budget, _tell)
        if given.memory:
            add_memory(outcome, _tell)
        print("", (markdown if given.markdown else text)(outcome), sep="\n", flush=True)
        outcomes.append(outcome)
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(outcomes), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    use_threads()
    main()
