"""Runs the cases of the contract check, all in one box, and counts what it caught and what it blocked."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from verification.contract_cases import BROKEN, HONEST, Case

from backend_crew.tools.contract import running
from backend_crew.tools.contract.applications import find_applications
from backend_crew.tools.contract.built import BuiltApi, nothing
from backend_crew.tools.contract.check import ContractCheck, judged
from backend_crew.tools.documents import read_document
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Limits, Sandbox

# The driver's own way, for every case in a process that is forked from one that has imported the framework.
_LOOP = """
import json, os, sys
import fastapi, fastapi.openapi.utils
program = compile(open(sys.argv[1]).read(), "driver", "exec")
for order in json.load(open(sys.argv[2])):
    child = os.fork()
    if not child:
        sys.argv[1:] = [order]
        exec(program, {"__name__": "__main__"})
    os.waitpid(child, 0)
"""


@dataclass(frozen=True)
class Outcome:
    """What the check said about one case."""

    case: Case
    result: ContractCheck

    @property
    def errors(self) -> tuple[str, ...]:
        """The rules of its errors."""
        return tuple(one.rule for one in self.result.findings if one.severity == "error")

    @property
    def right(self) -> bool:
        """Whether a broken case is found by its rule, and an honest one has no error."""
        return self.case.rule in self.errors if self.case.rule else self.result.status == "same"


def outcomes(sandbox: Sandbox, folder: Path) -> list[Outcome]:
    """The whole corpus, judged."""
    cases = (*HONEST, *BROKEN)
    texts = list(dict.fromkeys(text for case in cases for text in (case.before, case.code)))
    apis = dict(zip(texts, _interfaces(sandbox, folder, texts), strict=True))
    found = []
    for case in cases:
        document = read_document(case.contract)
        assert isinstance(document, dict)
        found.append(Outcome(case, judged(document, apis[case.code], apis[case.before])))
    return found


def _interfaces(sandbox: Sandbox, folder: Path, texts: list[str]) -> list[BuiltApi]:
    names = [f"service{number}" for number, _ in enumerate(texts)]
    for name, text in zip(names, texts, strict=True):
        (folder / name).mkdir()
        (folder / name / "main.py").write_text(text)
    runtime = find_runtime(folder, python=Path(sys.executable))
    with sandbox.box(folder, folder, runtime) as box:
        orders, apps = [], []
        for name in names:
            found = find_applications(folder / name)
            apps.append(found)
            given = {
                "applications": [{**asdict(one), "folder": name} for one in found],
                "out": str(folder / name / "api.json"),
            }
            box.put(f"{name}/api.json", b"null")
            box.put(f"{name}/order.json", json.dumps(given).encode())
            orders.append(str(folder / name / "order.json"))
        box.put("driver.py", Path(running.__file__).with_name("api_driver.py").read_bytes())
        box.put("orders.json", json.dumps(orders).encode())
        argv = (str(runtime.python), "-c", _LOOP, str(folder / "driver.py"), str(folder / "orders.json"))
        done = box.run(argv, limits=Limits(timeout_s=300))
        assert done.ok, done.stderr[-2000:]
        answers = [running.read_answer(box, f"{name}/api.json", one) for name, one in zip(names, apps, strict=True)]
        return [one or nothing("the driver wrote nothing") for one in answers]


def figures(found: list[Outcome]) -> tuple[float, float]:
    """Precision and recall of "this breaks the contract"."""
    caught = sum(one.right for one in found if one.case.rule)
    said = sum(bool(one.errors) for one in found)
    broken = sum(bool(one.case.rule) for one in found)
    right = sum(bool(one.errors) for one in found if one.case.rule)
    return right / said, caught / broken
