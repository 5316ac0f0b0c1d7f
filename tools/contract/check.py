"""The built interface of a changed tree against its approved contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.contract.applications import find_applications
from backend_crew.tools.contract.built import BuiltApi, nothing
from backend_crew.tools.contract.compare import compare
from backend_crew.tools.contract.operations import operations_of
from backend_crew.tools.contract.running import ask
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place

_NO_ENV: Mapping[str, str] = {}


@dataclass(frozen=True)
class ContractCheck:
    """The outcome: "same" without errors where all could be compared, "different", or "unknown" with the reason.

    "unknown" is never a pass: what could be compared was the same, but not all could be.
    """

    status: Literal["same", "different", "unknown"]
    reason: str
    source: str  # where the built interface was read, as BuiltApi has it
    framework: str = ""
    operations: int = 0  # of the contract
    findings: tuple[ChangeFinding, ...] = field(default=())


def built_api(place: Place | NoSandbox, *, env: Mapping[str, str] = _NO_ENV) -> BuiltApi:
    """The interface of one tree, by the best way that works there."""
    if isinstance(place, NoSandbox):
        return nothing(f"no sandbox works here: {place.reason}")
    applications = find_applications(place.tree)
    if not applications:
        return nothing("no application was found that could be asked")
    try:
        with place.sandbox.box(place.tree, place.at, place.runtime, layered=True) as box:
            return ask(box, applications, env)
    except ToolError as error:
        return nothing(str(error), applications[0].framework)


def check(
    document: str, place: Place | NoSandbox, before: Place | NoSandbox | None, *, env: Mapping[str, str] = _NO_ENV
) -> ContractCheck:
    """Compares an approved OpenAPI document with the tree at `place`; `before` is the tree as it was.

    Raises ToolRetry for a document that cannot be read.
    """
    approved = read_document(document)
    if not isinstance(approved, Mapping):
        raise ToolRetry("The approved contract is no OpenAPI document.")
    built = built_api(place, env=env)
    earlier = built_api(before, env=env) if before is not None and built.source != "none" else None
    return judged(approved, built, earlier)


def judged(approved: Mapping[str, object], built: BuiltApi, before: BuiltApi | None) -> ContractCheck:
    """The verdict on interfaces that are known already."""
    findings = compare(approved, built, before)
    wrong = sum(one.severity == "error" for one in findings)
    if wrong:
        status: Literal["same", "different", "unknown"] = "different"
        reason = f"{wrong} differences from the contract"
    elif built.source == "openapi":
        status, reason = "same", "every operation is as the contract has it"
    else:
        status, reason = "unknown", built.reason
    return ContractCheck(status, reason, built.source, built.framework, len(operations_of(approved)), findings)
