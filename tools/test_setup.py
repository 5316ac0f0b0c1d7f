"""What a repository without tests would need for its first one, by what it is built with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolError
from backend_crew.tools.stack import detect
from backend_crew.tools.stack_facts import Fact


@dataclass(frozen=True)
class Setup:
    """Packages to add and where they are declared, the first test file, and the command that runs it."""

    packages: str
    declared: str
    file: str
    what: str
    command: str

    def words(self) -> str:
        """As a recommendation to a person."""
        add = f"add {self.packages} to {self.declared}" if self.packages else "no package has to be added"
        return f"{add}; first test {self.file}: {self.what}; run with `{self.command}`"


# A framework, or else a language, of the stack facts; the first that is there counts.
_SETUPS: tuple[tuple[str, str, Setup], ...] = (
    ("framework", "Django", Setup("", "", "APP/tests.py", "django.test.TestCase with self.client", "python manage.py test")),
    ("framework", "FastAPI", Setup("pytest and httpx", "the development dependencies", "tests/test_api.py", "fastapi.testclient.TestClient(app)", "python -m pytest")),
    ("framework", "Flask", Setup("pytest", "the development dependencies", "tests/test_api.py", "app.test_client()", "python -m pytest")),
    ("framework", "NestJS", Setup("jest, ts-jest, @nestjs/testing and supertest", "devDependencies", "src/app.controller.spec.ts", "Test.createTestingModule(…) and supertest", "npx jest")),
    ("framework", "Express", Setup("supertest", "devDependencies", "test/app.test.js", "node:test with supertest(app)", "node --test")),
    ("framework", "Fastify", Setup("", "", "test/app.test.js", "node:test with app.inject(…)", "node --test")),
    ("framework", "Spring Boot", Setup("spring-boot-starter-test (scope test)", "the build file", "src/test/java/…/ApplicationTests.java", "@SpringBootTest with MockMvc", "mvn test, or gradle test")),
    ("framework", "Rails", Setup("", "", "test/integration/api_test.rb", "ActionDispatch::IntegrationTest", "bin/rails test")),
    ("framework", "Laravel", Setup("phpunit/phpunit", "require-dev", "tests/Feature/ApiTest.php", "the framework's TestCase", "php artisan test")),
    ("language", "Python", Setup("pytest", "the development dependencies", "tests/test_service.py", "a plain function that begins with test_", "python -m pytest")),
    ("language", "TypeScript", Setup("vitest", "devDependencies", "src/service.test.ts", "test() and expect() of vitest", "npx vitest run")),
    ("language", "JavaScript", Setup("", "", "test/service.test.js", "node:test and node:assert", "node --test")),
    ("language", "Go", Setup("", "", "service_test.go beside the code", "func TestService(t *testing.T) with net/http/httptest", "go test ./...")),
    ("language", "Java", Setup("junit-jupiter (scope test)", "the build file", "src/test/java/…/ServiceTest.java", "@Test of JUnit 5", "mvn test, or gradle test")),
    ("language", "Kotlin", Setup("junit-jupiter (scope test)", "the build file", "src/test/kotlin/…/ServiceTest.kt", "@Test of JUnit 5", "mvn test, or gradle test")),
)  # fmt: skip


def recommended(tree: Path) -> Setup | None:
    """The setup for a repository's first test; None where nothing is known of what it is built with."""
    try:
        facts: Sequence[Fact] = detect(tree)
    except ToolError:
        return None
    known = {(fact.kind, fact.value) for fact in facts}
    return next((setup for kind, value, setup in _SETUPS if (kind, value) in known), None)
