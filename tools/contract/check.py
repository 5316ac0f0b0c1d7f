"""The built interface of a changed tree against its approved contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.contract.applications import find_applications
from backend_crew.tools.contract.built import BuiltApi, nothing
from backend_crew.tools.contract.compare import FIX_UNKNOWN, compare
from backend_crew.tools.contract.graphql import compare_graphql, root_fields, schema_file
from backend_crew.tools.contract.node_applications import find_node_application
from backend_crew.tools.contract.operations import operations_of
from backend_crew.tools.contract.running import ask, ask_node
from backend_crew.tools.contract.static_routes import static_api
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place

Kind = Literal["openapi", "graphql"]
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


def built_api(place: Place | NoSandbox, *, kind: Kind = "openapi", env: Mapping[str, str] = _NO_ENV) -> BuiltApi:
    """The interface of one tree, by the best way that works there."""
    if isinstance(place, NoSandbox):
        return nothing(f"no sandbox works here: {place.reason}")
    wanted = kind == "graphql"
    applications = [one for one in find_applications(place.tree) if (one.framework == "GraphQL") == wanted]
    if not applications:
        text = schema_file(place.tree) if wanted else ""
        if text or wanted:
            return BuiltApi("graphql", "GraphQL", sdl=text) if text else nothing("no schema was found", "GraphQL")
        return _of_node(place, env)
    try:
        with place.sandbox.box(place.tree, place.at, place.runtime, layered=True) as box:
            found = ask(box, applications, env)
    except ToolError as error:
        found = nothing(str(error), applications[0].framework)
    # What the source says is less than the application knows, and more than nothing.
    return static_api(place.tree, found.reason) if found.source == "none" and not wanted else found


def _of_node(place: Place, env: Mapping[str, str]) -> BuiltApi:
    """NestJS by its own generator, Express by its routers; else what the source says."""
    application = find_node_application(place.tree)
    if application is None:
        return static_api(place.tree, "no application was found that could be asked")
    try:
        with place.sandbox.box(place.tree, place.at, place.runtime, layered=True) as box:
            found = ask_node(box, application, env)
    except ToolError as error:
        found = nothing(str(error), application.framework)
    return static_api(place.tree, found.reason) if found.source == "none" else found


def check(
    document: str,
    place: Place | NoSandbox,
    before: Place | NoSandbox | None,
    *,
    kind: Kind = "openapi",
    env: Mapping[str, str] = _NO_ENV,
) -> ContractCheck:
    """Compares an approved document with the tree at `place`; `before` is the tree as it was.

    `kind` is "openapi" or "graphql" (SDL). Raises ToolRetry for a document that cannot be read.
    """
    built = built_api(place, kind=kind, env=env)
    earlier = built_api(before, kind=kind, env=env) if before is not None and built.source != "none" else None
    if kind == "graphql":
        return judged_graphql(document, built, earlier)
    approved = read_document(document)
    if not isinstance(approved, Mapping):
        raise ToolRetry("The approved contract is no OpenAPI document.")
    return judged(approved, built, earlier)


def judged_graphql(document: str, built: BuiltApi, before: BuiltApi | None) -> ContractCheck:
    """The verdict on a GraphQL schema that is known already."""
    number = len(root_fields(document))
    if built.source != "graphql":
        text = f"the built schema is not known: {built.reason}"
        finding = ChangeFinding("contract", "not-compared", "warning", "", 0, text, FIX_UNKNOWN)
        return ContractCheck("unknown", built.reason, built.source, built.framework, number, (finding,))
    findings = compare_graphql(document, built.sdl, before.sdl if before and before.source == "graphql" else None)
    wrong = sum(one.severity == "error" for one in findings)
    status: Literal["same", "different"] = "different" if wrong else "same"
    reason = f"{wrong} differences from the contract" if wrong else "the schema is as the contract has it"
    return ContractCheck(status, reason, built.source, built.framework, number, findings)


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
