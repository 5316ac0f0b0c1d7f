"""The application started in the sandbox and called: what a run of it shows that its description does not."""

import os
import sys
from pathlib import Path

import pytest
from verification.contract_cases import CONTRACT, changed

from backend_crew.tools.contract.exercise import Bounds, Exercise, Subject, exercise, find_tools
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox
from backend_crew.tools.scratches import Place

# An environment of its own: as a plugin of pytest it would slow down every run of it.
TOOLS = Path(os.environ.get("SCHEMATHESIS_ENV", sys.prefix))
# What the description does not tell: the code behind it is what differs.
FAULTY = changed(
    (
        "    raise HTTPException(404)\n",
        '    from fastapi.responses import JSONResponse\n    return JSONResponse({"id": 1}, status_code=201)\n',
    ),
    ("Depends(HTTPBearer())", "Depends(HTTPBearer(auto_error=False))"),
    ("    return Page(items=[], total=0)\n", "    return Page(items=[], total=100 // (limit - 100))\n"),
    ("body: RefundIn, user", "body: Annotated[dict, Body()], user"),
    ("import HTTPException, Path", "import Body, HTTPException, Path"),
)
ASKS = """app = FastAPI()
_bearer = HTTPBearer(auto_error=False)

def caller(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]):
    from fastapi import HTTPException
    raise HTTPException(401)

@app.exception_handler(401)
@app.exception_handler(404)
def refused(request, error):
    from fastapi.responses import JSONResponse
    return JSONResponse({"error": {"code": "refused", "message": str(error.detail)}}, error.status_code)
"""
HONEST = changed(("Depends(HTTPBearer())", "Depends(caller)"), ("app = FastAPI()\n", ASKS))


def run(sandbox: Sandbox | NoSandbox, tree: Path, text: str, tools: Path | None = None) -> Exercise:
    (tree / "main.py").write_text(text)
    if isinstance(sandbox, NoSandbox):
        return exercise(CONTRACT, sandbox)
    place = Place(sandbox, tree, tree, find_runtime(tree, python=Path(sys.executable)))
    return exercise(CONTRACT, Subject(place, tools=tools), bounds=Bounds(examples=4))


@pytest.fixture(scope="module")
def faulty(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return run(sandbox, tmp_path_factory.mktemp("faulty"), FAULTY)


@pytest.fixture(scope="module")
def fuzzed(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return run(sandbox, tmp_path_factory.mktemp("fuzzed"), FAULTY, TOOLS)


def test_an_operation_that_answers_without_credentials_is_an_error(faulty: Exercise) -> None:
    assert faulty.status == "failed", (faulty.reason, faulty.log_tail)
    told = [one.text for one in faulty.findings if (one.rule, one.severity) == ("unauthenticated", "error")]
    assert any("POST /v1/orders/{order_id}/refunds" in one and "without credentials" in one for one in told)
    assert any("with made-up credentials" in one for one in told)


@pytest.mark.tool
def test_what_schemathesis_finds_is_told(fuzzed: Exercise) -> None:
    assert fuzzed.generated > 0, fuzzed.fuzz_reason
    found = {(one.rule, one.severity) for one in fuzzed.findings}
    assert {("server-error", "error"), ("answer-differs", "error"), ("not-validated", "warning")} <= found


@pytest.mark.tool
def test_an_application_that_asks_for_credentials_passes(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text("this would stop the tool: [")
    result = run(sandbox, tmp_path, HONEST, TOOLS)
    assert (result.status, [one for one in result.findings if one.severity == "error"]) == ("passed", [])
    assert (result.called, result.generated > 0) == (2, True)


def test_without_the_tool_the_calls_are_made_and_the_rest_is_said(sandbox: Sandbox, tmp_path: Path) -> None:
    result = run(sandbox, tmp_path, HONEST)
    assert (result.status, result.called, result.generated) == ("passed", 2, 0)
    assert "no environment with schemathesis was named" in result.fuzz_reason


def test_an_application_that_does_not_start_is_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    result = run(sandbox, tmp_path, 'import os\nKEY = os.environ["SHOP_KEY"]\n' + HONEST)
    assert result.status == "not run"
    assert "SHOP_KEY" in result.reason


def test_an_application_that_lacks_its_database_is_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    text = changed(
        (
            "    raise HTTPException(401)\n",
            '    import sqlite3\n    sqlite3.connect("x.db").execute("select * from users")\n',
        ),
        base=HONEST,
    )
    result = run(sandbox, tmp_path, text)
    assert (result.status, "no such table: users" in result.reason) == ("not run", True)


def test_without_sandbox_or_application_nothing_is_run(sandbox: Sandbox, tmp_path: Path) -> None:
    assert run(NoSandbox("none here", "get one"), tmp_path, HONEST).status == "not run"
    assert run(sandbox, tmp_path, "print('no application')").reason == "no application was found that can be started"


@pytest.mark.tool
def test_the_tool_is_found_in_its_environment() -> None:
    assert find_tools(TOOLS)[0] is not None


def test_an_environment_without_the_tool_is_told_how_to_get_it(tmp_path: Path) -> None:
    assert "pip install 'schemathesis" in find_tools(tmp_path)[1]
