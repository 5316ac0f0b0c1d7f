"""The wheel: it holds exactly what the packages hold on disk, and works where others own the same generic names."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("crew", "tools", "config", "examples")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", ".pytest_cache", "*.db")
LEFT_OVER = (
    "examples/shop/shop/__pycache__/main.cpython-311.pyc",
    "examples/shop/.pytest_cache/README.md",
    "examples/shop/shop.db",
    "examples/shop/.env",
    "crew/__pycache__/cli.cpython-311.pyc",
)
"""What running the sample in a checkout leaves there."""
HOSTILE = ("crew", "tools", "config", "examples", "sitecustomize.py")


def _run(argv: list[str], cwd: Path, *, code: int = 0) -> str:
    home = cwd.parent / "home"
    home.mkdir(exist_ok=True)
    env = {"PATH": os.defpath, "HOME": str(home), "BACKEND_CREW_HOME": str(home / "runs")}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, with the left-overs that a used checkout has."""
    folder = tmp_path_factory.mktemp("wheel") / "checkout"
    folder.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=JUNK)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def on_disk(checkout: Path) -> set[str]:
    """Every file of the packages, dotfiles included."""
    return {path.relative_to(checkout).as_posix() for name in PACKAGES for path in _files(checkout / name)}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def wheel(checkout: Path, on_disk: set[str]) -> Path:
    """The wheel, built without network by the build backend that this environment has."""
    for name in LEFT_OVER:
        assert name not in on_disk
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("left over")
    output = checkout.parent / "dist"
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output), str(checkout)]
    _run(argv, checkout.parent)
    (built,) = output.iterdir()
    return built


def test_the_wheel_holds_what_is_on_disk(wheel: Path, on_disk: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    shipped = {name.removeprefix("backend_crew/") for name in names if name.startswith("backend_crew/")}
    assert shipped == on_disk
    assert any(name.rpartition("/")[2].startswith(".") for name in shipped), "dotfiles are part of the sample"
    assert {"crew/py.typed", "tools/py.typed", "config/agents.yaml", "config/tasks.yaml"} <= shipped
    assert {name.split("/")[0] for name in names} == {"backend_crew", "backend_crew-0.1.0.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The bin folder of a clean environment with the wheel; it sees this environment's packages, but not this checkout."""
    venv = wheel.parent.parent / "venv"
    _run([sys.executable, "-m", "venv", str(venv)], venv.parent)
    _run([str(venv / "bin/pip"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)], venv.parent)
    site = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # a folder named in a .pth has its own .pth files ignored, so the editable install of this checkout stays out
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder that owns our generic names, with code that leaves a trace when it is imported."""
    folder = tmp_path / "hostile"
    for name in HOSTILE:
        path = folder / name if name.endswith(".py") else folder / name / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'imported')!r}, 'a').write({name!r})\n")
    (folder / ".env").write_text("BACKEND_CREW_HOME=/nonexistent\nOPENAI_BASE_URL=http://127.0.0.1:9\n")
    return folder


def test_the_installed_command_ignores_packages_of_the_folder_it_runs_in(installed: Path, hostile: Path) -> None:
    command = str(installed / "backend-crew")
    assert "validate" in _run([command, "--help"], hostile)
    assert _run([command, "--version"], hostile) == "backend-crew, version 0.1.0\n"
    assert _run([command, "validate"], hostile).startswith("valid: ")
    assert _run([command, "runs", "--json"], hostile) == "[]\n"
    assert not (hostile / "imported").exists()
    _run([str(installed / "python"), "-c", "import tools"], hostile)
    assert "tools" in (hostile / "imported").read_text(), "the weak control: a generic name is taken from the folder"


def test_the_library_is_the_installed_one_even_when_the_folder_comes_first(installed: Path, hostile: Path) -> None:
    code = (
        "from backend_crew.crew import BackendCrew; import inspect, sys, backend_crew.tools.git as git\n"
        "print(inspect.getfile(BackendCrew)); print(git.__file__); print('crewai' in sys.modules)"
    )
    (hostile / "sitecustomize.py").unlink()  # python -c puts the folder first, and that file is Python's own door
    crew, git, crewai = _run([str(installed / "python"), "-c", code], hostile).splitlines()
    assert Path(crew).is_relative_to(installed.parent)
    assert Path(git).is_relative_to(installed.parent)
    assert crewai == "False"
    assert not (hostile / "imported").exists()


def test_the_installed_sample_and_its_commands_are_found(installed: Path, hostile: Path) -> None:
    code = "from backend_crew.crew import demo; print(demo.examples()); print(demo.feature()[:1])"
    folder, start = _run([str(installed / "python"), "-c", code], hostile).splitlines()
    assert Path(folder).is_relative_to(installed.parent)
    assert start
    assert (Path(folder) / "shop/.gitignore").is_file()
    assert (installed / "run_crew").is_file()
