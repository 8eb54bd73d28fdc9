"""New virtual environments for packages of plugins, made in a second: what mmframe needs comes from the environment of the
tests, mmframe from the checkout, and nothing that is installed there is seen by anybody else."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]


@frozen
class Environment:
    """A virtual environment in a folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        made = cls(folder)
        (packages,) = folder.glob("lib/python*/site-packages")
        lines = [f"import sys; sys.path.insert(0, {str(ROOT)!r})"]  # before any other mmframe
        lines += [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        (packages / "of_the_tests.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return made

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *packages: Path) -> None:
        """By pip. What the packages depend on is there already."""
        flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(self.python), "install", *flags, *map(str, packages)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    def run(self, *words: str, cwd: Path, timeout: int = 600, **variables: str) -> subprocess.CompletedProcess[str]:
        """`python words...` in a folder; only the variables given change."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MMFRAME_PLUGINS")}
        return subprocess.run(
            [str(self.python), *words],
            cwd=cwd,
            env={**kept, "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def mmframe(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.run("-m", "mmframe.cli", *words, cwd=cwd, **variables)


def write_wheel(
    folder: Path, distribution: str, modules: dict[str, str], *, group: str = "mmframe.v1", version: str = "1.0"
) -> Path:
    """A wheel of some modules, each with an entry point of its own name. Returns its path."""
    stem = distribution.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    points = "".join(f"{name} = {name}\n" for name in modules)
    files = {
        **{f"{name}.py": text for name, text in modules.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[{group}]\n{points}",
    }
    path = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path
