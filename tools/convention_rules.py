"""What conventions are recognised by, as data: the roles that files play, and habits that lines show."""

import re
from dataclasses import dataclass

PYTHON = (".py",)
SCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx")


@dataclass(frozen=True)
class Role:
    """A kind of file: `line` (multiline regex) shows it in files that end in `suffixes`; `path` narrows where.

    `layer` is the design's layer that files of this role belong to.
    """

    name: str
    layer: str
    suffixes: tuple[str, ...]
    line: re.Pattern[str]
    path: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Habit:
    """One way of doing things that single lines show, as against others of the same `kind`; group 1 names what is used."""

    kind: str
    statement: str
    suffixes: tuple[str, ...]
    line: re.Pattern[str]


def _line(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


TEST_PATH = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/|(^|/)(test_[^/]*|conftest)\.py$|_test\.(py|go)$|\.(test|spec)\.[cm]?[jt]sx?$"
)

ROLES: tuple[Role, ...] = (
    Role("tests", "tests", PYTHON, _line(r"^\s*(?:async )?def test_\w+"), TEST_PATH),
    Role("tests", "tests", SCRIPT, _line(r"^\s*(?:describe|it|test)\("), TEST_PATH),
    Role("routes", "presentation", PYTHON, _line(r"^\s*@[\w.]+\.(?:get|post|put|patch|delete|route|api_route|websocket)\(")),
    Role("routes", "presentation", PYTHON, _line(r"^class \w+\([^)]*(?:ViewSet|APIView|MethodView|GenericAPIView|View|Controller|Resource)\)")),
    Role("routes", "presentation", SCRIPT, _line(r"^\s*@Controller\(|^\s*\w*(?:router|app|routes|server|fastify)\w*\.(?:get|post|put|patch|delete)\(\s*['\"`]/")),
    Role("schemas", "presentation", PYTHON, _line(r"^class \w+\([^)]*(?:BaseModel|Schema|Serializer|ModelSerializer|Struct)\b[^)]*\)")),
    Role("schemas", "presentation", SCRIPT, _line(r"^\s*@Is[A-Z]\w+\(|\bz\.object\(|\bJoi\.object\(")),
    Role("models", "data_access", PYTHON, _line(r"^\s+__tablename__\s*=|^class \w+\([^)]*(?:models\.Model|db\.Model|table=True)\b[^)]*\)")),
    Role("models", "data_access", SCRIPT, _line(r"^\s*@Entity\(|\b(?:pg|sqlite|mysql)Table\(")),
    Role("repositories", "data_access", PYTHON, _line(r"^class \w+(?:Repository|Repo|Dao|DAO|Store)\b")),
    Role("repositories", "data_access", PYTHON, _line(r"^(?:async )?def \w+\("), re.compile(r"(^|/)(repositories|repository|crud|dao)(/|\.py$)")),
    Role("repositories", "data_access", SCRIPT, _line(r"^\s*export (?:default )?class \w+(?:Repository|Dao)\b")),
    Role("services", "business_logic", PYTHON, _line(r"^class \w+(?:Service|UseCase|Interactor)\b")),
    Role("services", "business_logic", PYTHON, _line(r"^(?:async )?def \w+\("), re.compile(r"(^|/)(services?|use_?cases?|domain|logic)(/|\.py$)")),
    Role("services", "business_logic", SCRIPT, _line(r"^\s*export (?:default )?class \w+(?:Service|UseCase)\b|^\s*@Injectable\("), re.compile(r"service|use-?case", re.IGNORECASE)),
)  # fmt: skip

HABITS: tuple[Habit, ...] = (
    Habit("error handling", "errors are raised as {name} of the framework", PYTHON, _line(r"^\s*raise (HTTPException|Http404|NotFound|ValidationError|APIException|abort)\b")),
    Habit("error handling", "errors are mapped to responses by {name}", PYTHON, _line(r"^\s*(?:@?[\w.]*?)(exception_handler|add_exception_handler|errorhandler|register_error_handler)\(")),
    Habit("error handling", "errors are the repository's own classes, derived from {name}", PYTHON, _line(r"^class \w+\((\w*(?:Error|Exception))\)")),
    Habit("error handling", "errors are thrown as {name}", SCRIPT, _line(r"\bthrow new (\w+(?:Exception|Error))\(")),
    Habit("error handling", "errors are passed on with {name}", SCRIPT, _line(r"\b(next)\((?:err|error|new \w+)\b")),
    Habit("dependency injection", "dependencies come in through {name}", PYTHON, _line(r"\b(Depends|Annotated\[[^\]]+Depends|inject|Provide)\(")),
    Habit("dependency injection", "dependencies come in through the constructor of {name} classes", SCRIPT, _line(r"^\s*@(Injectable)\(")),
    Habit("transactions", "changes are kept by {name}", PYTHON, _line(r"\b((?:self\.)?_?\w*(?:session|db|uow|conn|connection)\w*\.commit)\(")),
    Habit("transactions", "changes happen within {name}", PYTHON, _line(r"(?:with|@)\s*(transaction\.atomic|[\w.]*session\.begin|[\w.]*\.begin_nested|db\.atomic|in_transaction)\b")),
    Habit("transactions", "changes happen within {name}", SCRIPT, _line(r"\b(\$transaction|\w+\.transaction|knex\.transaction|queryRunner\.startTransaction)\(")),
    Habit("schemas", "what comes in and goes out is described by {name} classes", PYTHON, _line(r"^class \w+\([^)]*\b(BaseModel|Schema|ModelSerializer|Serializer|Struct|SQLModel)\b")),
    Habit("schemas", "what comes in is checked by {name}", SCRIPT, _line(r"\b(z\.object|Joi\.object)\(|^\s*@(?:Is[A-Z]\w+)\(")),
    Habit("fixtures", "tests get what they need from pytest fixtures", PYTHON, _line(r"^\s*@(pytest\.fixture|pytest_asyncio\.fixture|fixture)\b")),
    Habit("fixtures", "tests prepare themselves in {name}", SCRIPT, _line(r"^\s*(beforeEach|beforeAll|before)\(")),
    Habit("test style", "tests are functions", PYTHON, _line(r"^(?:async )?def (test)_\w+\(")),
    Habit("test style", "tests are methods of {name} classes", PYTHON, _line(r"^class \w+\([\w.]*?(TestCase|APITestCase)\)")),
    Habit("test style", "tests call the API through {name}", PYTHON, _line(r"\b(client|api_client|async_client|test_client|self\.client)\.(?:get|post|put|patch|delete)\(")),
)  # fmt: skip
