"""What the stack detectors look for, as data: libraries, files and lines, each with the fact that it shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """A library under its names, space-separated: `pypi:`, `npm:`, … declare it, `py:`, `js:`, … import it (prefixes).

    `go:` names do both, since a Go module is imported under the name that declares it.
    """

    kind: str
    value: str
    names: str

    @property
    def packages(self) -> tuple[str, ...]:
        """The names that a manifest may declare, as ecosystem:name."""
        return tuple(name for name in self.names.split() if name.partition(":")[0] not in _IMPORTS)

    @property
    def imports(self) -> tuple[str, ...]:
        """The module prefixes whose import proves the use, as dialect:prefix."""
        return tuple(name for name in self.names.split() if name.partition(":")[0] in (*_IMPORTS, "go"))


@dataclass(frozen=True)
class FileRule:
    """A file whose presence is a fact: a glob over the path or the bare name, and the line (regex) that is quoted."""

    kind: str
    value: str
    glob: str
    line: str = ""


@dataclass(frozen=True)
class LineRule:
    """A line (regex) in files that match one of the globs; `likely` where text alone cannot prove it.

    `needs`: the regex is tried only on a text that holds one of these (plain substring tests keep big scans quick).
    """

    kind: str
    value: str
    globs: tuple[str, ...]
    line: str
    likely: bool = False
    needs: tuple[str, ...] = ()


_IMPORTS = ("py", "js", "jvm", "rb", "php", "rs", "cs", "ex")

LANGUAGES = {
    ".py": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".ts": "TypeScript",
    ".mts": "TypeScript",
    ".go": "Go",
    ".java": "Java",
    ".kt": "Kotlin",
    ".rb": "Ruby",
    ".php": "PHP",
    ".rs": "Rust",
    ".cs": "C#",
    ".ex": "Elixir",
    ".exs": "Elixir",
}

# The language part of an import rule; languages that import each other's modules share one.
IMPORT_DIALECT = {
    "Python": "py",
    "JavaScript": "js",
    "TypeScript": "js",
    "Go": "go",
    "Java": "jvm",
    "Kotlin": "jvm",
    "Ruby": "rb",
    "PHP": "php",
    "Rust": "rs",
    "C#": "cs",
    "Elixir": "ex",
}

SKIPPED_FOLDERS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "node_modules",
        ".venv",
        "venv",
        "vendor",
        "__pycache__",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        "site-packages",
        "dist",
        "build",
        "target",
        ".next",
        ".gradle",
        ".idea",
        ".eggs",
        "bower_components",
        "_build",
        "coverage",
        "htmlcov",
        ".terraform",
        ".crewai",
        ".backend-crew",
    }
)

LIBRARIES = (
    # Web frameworks
    Library("framework", "FastAPI", "pypi:fastapi py:fastapi"),
    Library("framework", "Flask", "pypi:flask py:flask"),
    Library("framework", "Django", "pypi:django py:django"),
    Library("framework", "Django REST framework", "pypi:djangorestframework py:rest_framework"),
    Library("framework", "Django Ninja", "pypi:django-ninja py:ninja"),
    Library("framework", "Starlette", "pypi:starlette py:starlette"),
    Library("framework", "Litestar", "pypi:litestar py:litestar"),
    Library("framework", "Sanic", "pypi:sanic py:sanic"),
    Library("framework", "Tornado", "pypi:tornado py:tornado"),
    Library("framework", "aiohttp", "py:aiohttp.web"),
    Library("framework", "Express", "npm:express js:express"),
    Library("framework", "NestJS", "npm:@nestjs/core npm:@nestjs/common js:@nestjs/core js:@nestjs/common"),
    Library("framework", "Fastify", "npm:fastify js:fastify"),
    Library("framework", "Koa", "npm:koa js:koa"),
    Library("framework", "Hapi", "npm:@hapi/hapi js:@hapi/hapi"),
    Library("framework", "Hono", "npm:hono js:hono"),
    Library("framework", "Gin", "go:github.com/gin-gonic/gin"),
    Library("framework", "Echo", "go:github.com/labstack/echo"),
    Library("framework", "Fiber", "go:github.com/gofiber/fiber"),
    Library("framework", "chi", "go:github.com/go-chi/chi"),
    Library(
        "framework",
        "Spring Boot",
        "maven:spring-boot-starter-web maven:spring-boot-starter maven:spring-boot-starter-webflux "
        "maven:spring-boot-starter-parent maven:org.springframework.boot jvm:org.springframework.boot "
        "jvm:org.springframework.web",
    ),
    Library("framework", "Quarkus", "maven:quarkus-rest maven:quarkus-resteasy jvm:io.quarkus"),
    Library("framework", "Rails", "gem:rails rb:rails"),
    Library("framework", "Sinatra", "gem:sinatra rb:sinatra"),
    Library("framework", "Laravel", "composer:laravel/framework php:Illuminate"),
    Library("framework", "Symfony", "composer:symfony/framework-bundle php:Symfony\\Bundle\\FrameworkBundle"),
    Library("framework", "Slim", "composer:slim/slim php:Slim"),
    Library("framework", "Axum", "cargo:axum rs:axum"),
    Library("framework", "Actix Web", "cargo:actix-web rs:actix_web"),
    Library("framework", "Rocket", "cargo:rocket rs:rocket"),
    Library("framework", "ASP.NET Core", "nuget:Microsoft.AspNetCore.OpenApi cs:Microsoft.AspNetCore"),
    Library("framework", "Phoenix", "hex:phoenix ex:Phoenix"),
    # Servers without a framework, or below one
    Library("server", "uvicorn", "pypi:uvicorn py:uvicorn"),
    Library("server", "gunicorn", "pypi:gunicorn py:gunicorn"),
    Library("server", "hypercorn", "pypi:hypercorn py:hypercorn"),
    Library("server", "http.server", "py:http.server"),
    Library("server", "puma", "gem:puma rb:puma"),
    # Object mappers
    Library("orm", "SQLAlchemy", "pypi:sqlalchemy py:sqlalchemy"),
    Library("orm", "Flask-SQLAlchemy", "pypi:flask-sqlalchemy py:flask_sqlalchemy"),
    Library("orm", "SQLModel", "pypi:sqlmodel py:sqlmodel"),
    Library("orm", "Django ORM", "py:django.db.models py:django.db.migrations"),
    Library("orm", "Tortoise ORM", "pypi:tortoise-orm py:tortoise"),
    Library("orm", "Peewee", "pypi:peewee py:peewee"),
    Library("orm", "Beanie", "pypi:beanie py:beanie"),
    Library("orm", "MongoEngine", "pypi:mongoengine py:mongoengine"),
    Library("orm", "Prisma", "npm:@prisma/client npm:prisma js:@prisma/client"),
    Library("orm", "TypeORM", "npm:typeorm js:typeorm js:@nestjs/typeorm"),
    Library("orm", "Sequelize", "npm:sequelize js:sequelize js:sequelize-typescript"),
    Library("orm", "Mongoose", "npm:mongoose js:mongoose js:@nestjs/mongoose"),
    Library("orm", "Drizzle", "npm:drizzle-orm js:drizzle-orm"),
    Library("orm", "MikroORM", "npm:@mikro-orm/core js:@mikro-orm/core"),
    Library("orm", "Objection", "npm:objection js:objection"),
    Library("orm", "GORM", "go:gorm.io/gorm go:github.com/jinzhu/gorm"),
    Library("orm", "ent", "go:entgo.io/ent"),
    Library("orm", "JPA", "maven:spring-boot-starter-data-jpa jvm:jakarta.persistence jvm:javax.persistence"),
    Library("orm", "Hibernate", "maven:hibernate-core jvm:org.hibernate"),
    Library("orm", "ActiveRecord", "gem:activerecord rb:active_record"),
    Library("orm", "Eloquent", "php:Illuminate\\Database\\Eloquent"),
    Library("orm", "Doctrine", "composer:doctrine/orm php:Doctrine\\ORM"),
    Library("orm", "Diesel", "cargo:diesel rs:diesel"),
    Library("orm", "SQLx", "cargo:sqlx rs:sqlx"),
    Library("orm", "SeaORM", "cargo:sea-orm rs:sea_orm"),
    Library("orm", "Entity Framework Core", "nuget:Microsoft.EntityFrameworkCore cs:Microsoft.EntityFrameworkCore"),
    Library("orm", "Ecto", "hex:ecto_sql hex:ecto ex:Ecto"),
    # Databases by driver
    Library("database", "sqlite", "pypi:aiosqlite py:sqlite3 py:aiosqlite"),
    Library(
        "database",
        "postgresql",
        "pypi:psycopg pypi:psycopg2 pypi:psycopg2-binary pypi:asyncpg pypi:pg8000 py:psycopg py:psycopg2 "
        "py:asyncpg py:pg8000",
    ),
    Library(
        "database",
        "mysql",
        "pypi:mysqlclient pypi:pymysql pypi:aiomysql pypi:asyncmy pypi:mysql-connector-python py:MySQLdb "
        "py:pymysql py:aiomysql py:asyncmy py:mysql.connector",
    ),
    Library("database", "mongodb", "pypi:pymongo pypi:motor py:pymongo py:motor"),
    Library("database", "sqlite", "npm:better-sqlite3 npm:sqlite3 js:better-sqlite3 js:sqlite3 js:node:sqlite"),
    Library("database", "postgresql", "npm:pg npm:postgres js:pg js:postgres"),
    Library("database", "mysql", "npm:mysql2 npm:mysql js:mysql2 js:mysql"),
    Library("database", "mongodb", "npm:mongodb npm:mongoose js:mongodb js:mongoose"),
    Library("database", "postgresql", "go:github.com/lib/pq go:github.com/jackc/pgx go:gorm.io/driver/postgres"),
    Library("database", "mysql", "go:github.com/go-sql-driver/mysql go:gorm.io/driver/mysql"),
    Library("database", "sqlite", "go:github.com/mattn/go-sqlite3 go:modernc.org/sqlite go:gorm.io/driver/sqlite"),
    Library("database", "mongodb", "go:go.mongodb.org/mongo-driver"),
    Library("database", "postgresql", "maven:postgresql gem:pg nuget:Npgsql hex:postgrex"),
    Library("database", "mysql", "maven:mysql-connector-j gem:mysql2 hex:myxql"),
    Library("database", "sqlite", "maven:sqlite-jdbc gem:sqlite3 cargo:rusqlite"),
    Library(
        "cache",
        "redis",
        "pypi:redis npm:redis npm:ioredis gem:redis go:github.com/redis/go-redis py:redis js:redis js:ioredis",
    ),
    Library("queue", "Celery", "pypi:celery py:celery"),
    Library("queue", "BullMQ", "npm:bullmq npm:bull js:bullmq js:bull"),
    # Migrations by library
    Library("migrations", "alembic", "pypi:alembic py:alembic"),
    Library("migrations", "flask-migrate", "pypi:flask-migrate py:flask_migrate"),
    Library("migrations", "knex", "npm:knex js:knex"),
    Library("migrations", "flyway", "maven:flyway-core jvm:org.flywaydb"),
    Library("migrations", "liquibase", "maven:liquibase-core jvm:liquibase"),
    Library("migrations", "golang-migrate", "go:github.com/golang-migrate/migrate"),
    Library("migrations", "goose", "go:github.com/pressly/goose"),
    # API styles other than plain HTTP routes
    Library(
        "api",
        "GraphQL",
        "pypi:strawberry-graphql pypi:graphene pypi:ariadne npm:graphql npm:@apollo/server py:strawberry "
        "py:graphene py:ariadne js:graphql js:@apollo/server go:github.com/99designs/gqlgen",
    ),
    Library("api", "gRPC", "pypi:grpcio npm:@grpc/grpc-js go:google.golang.org/grpc py:grpc js:@grpc/grpc-js"),
    # Authentication
    Library(
        "auth",
        "JWT",
        "pypi:pyjwt pypi:python-jose npm:jsonwebtoken npm:jose npm:@nestjs/jwt "
        "pypi:djangorestframework-simplejwt pypi:flask-jwt-extended go:github.com/golang-jwt/jwt py:jwt "
        "py:jose js:jsonwebtoken js:jose js:@nestjs/jwt py:rest_framework_simplejwt "
        "py:flask_jwt_extended",
    ),
    Library(
        "auth",
        "password hashing",
        "pypi:passlib pypi:bcrypt pypi:argon2-cffi pypi:pwdlib npm:bcrypt npm:bcryptjs npm:argon2 "
        "gem:bcrypt py:passlib py:bcrypt py:argon2 py:pwdlib js:bcrypt js:bcryptjs js:argon2 "
        "go:golang.org/x/crypto/bcrypt",
    ),
    Library("auth", "fastapi.security", "py:fastapi.security"),
    Library("auth", "Flask-Login", "pypi:flask-login py:flask_login"),
    Library("auth", "django.contrib.auth", "py:django.contrib.auth"),
    Library("auth", "OAuth client", "pypi:authlib npm:openid-client py:authlib js:openid-client"),
    Library("auth", "Passport", "npm:passport js:passport js:@nestjs/passport"),
    Library("auth", "Devise", "gem:devise"),
    Library("auth", "Spring Security", "maven:spring-boot-starter-security jvm:org.springframework.security"),
    Library("auth", "Laravel Sanctum", "composer:laravel/sanctum php:Laravel\\Sanctum"),
    # Validation, tests, linters
    Library("validation", "Pydantic", "pypi:pydantic py:pydantic"),
    Library("validation", "marshmallow", "pypi:marshmallow py:marshmallow"),
    Library("validation", "zod", "npm:zod js:zod"),
    Library("validation", "class-validator", "npm:class-validator js:class-validator"),
    Library("tests", "pytest", "pypi:pytest py:pytest"),
    Library("tests", "unittest", "py:unittest"),
    Library("tests", "jest", "npm:jest js:@jest/globals"),
    Library("tests", "vitest", "npm:vitest js:vitest"),
    Library("tests", "mocha", "npm:mocha js:mocha"),
    Library("tests", "node:test", "js:node:test"),
    Library("tests", "go test", "go:testing"),
    Library("tests", "JUnit", "maven:junit-jupiter maven:junit maven:spring-boot-starter-test jvm:org.junit"),
    Library("tests", "RSpec", "gem:rspec gem:rspec-rails rb:rspec"),
    Library("tests", "PHPUnit", "composer:phpunit/phpunit php:PHPUnit"),
    Library("lint", "ruff", "pypi:ruff"),
    Library("lint", "flake8", "pypi:flake8"),
    Library("lint", "black", "pypi:black"),
    Library("lint", "mypy", "pypi:mypy"),
    Library("lint", "pylint", "pypi:pylint"),
    Library("lint", "eslint", "npm:eslint"),
    Library("lint", "prettier", "npm:prettier"),
    Library("lint", "biome", "npm:@biomejs/biome"),
    Library("lint", "rubocop", "gem:rubocop"),
    Library("lint", "phpstan", "composer:phpstan/phpstan"),
)

FILES = (
    FileRule("migrations", "alembic", "alembic.ini", r"^\s*script_location\s*="),
    FileRule("migrations", "django", "*/migrations/0001_*.py", r"migrations\.Migration"),
    FileRule("migrations", "prisma", "*prisma/migrations/*/migration.sql"),
    FileRule("migrations", "knex", "knexfile.*"),
    FileRule("migrations", "sequelize", ".sequelizerc"),
    FileRule("migrations", "drizzle", "drizzle.config.*"),
    FileRule("migrations", "flyway", "*db/migration/V*__*.sql"),
    FileRule("migrations", "rails", "*db/migrate/*.rb", r"ActiveRecord::Migration"),
    FileRule("migrations", "laravel", "*database/migrations/*.php", r"extends Migration"),
    FileRule("migrations", "sql", "*migrations/*.sql"),
    FileRule("package_manager", "uv", "uv.lock"),
    FileRule("package_manager", "poetry", "poetry.lock"),
    FileRule("package_manager", "pdm", "pdm.lock"),
    FileRule("package_manager", "pipenv", "Pipfile"),
    FileRule("package_manager", "pip", "requirements*.txt"),
    FileRule("package_manager", "npm", "package-lock.json"),
    FileRule("package_manager", "yarn", "yarn.lock"),
    FileRule("package_manager", "pnpm", "pnpm-lock.yaml"),
    FileRule("package_manager", "bun", "bun.lock"),
    FileRule("package_manager", "go modules", "go.mod", r"^module "),
    FileRule("package_manager", "cargo", "Cargo.toml", r"^\[(package|workspace)\]"),
    FileRule("package_manager", "maven", "pom.xml", r"<project"),
    FileRule("package_manager", "gradle", "build.gradle*"),
    FileRule("package_manager", "bundler", "Gemfile"),
    FileRule("package_manager", "composer", "composer.json"),
    FileRule("package_manager", "nuget", "*.csproj"),
    FileRule("package_manager", "mix", "mix.exs"),
    FileRule("tests", "pytest", "pytest.ini", r"^\[pytest\]"),
    FileRule("tests", "jest", "jest.config.*"),
    FileRule("tests", "vitest", "vitest.config.*"),
    FileRule("tests", "go test", "*_test.go", r"^func Test"),
    FileRule("tests", "RSpec", ".rspec"),
    FileRule("lint", "ruff", "ruff.toml"),
    FileRule("lint", "ruff", ".ruff.toml"),
    FileRule("lint", "flake8", ".flake8", r"^\[flake8\]"),
    FileRule("lint", "mypy", "mypy.ini", r"^\[mypy\]"),
    FileRule("lint", "eslint", ".eslintrc*"),
    FileRule("lint", "eslint", "eslint.config.*"),
    FileRule("lint", "prettier", ".prettierrc*"),
    FileRule("lint", "golangci-lint", ".golangci.y*ml"),
    FileRule("lint", "rubocop", ".rubocop.yml"),
    FileRule("lint", "pre-commit", ".pre-commit-config.yaml", r"^repos:"),
    FileRule("ci", "GitHub Actions", ".github/workflows/*.y*ml", r"^(on|jobs|name)\b"),
    FileRule("ci", "GitLab CI", ".gitlab-ci.yml"),
    FileRule("ci", "Jenkins", "Jenkinsfile"),
    FileRule("ci", "CircleCI", ".circleci/config.yml"),
    FileRule("ci", "Azure Pipelines", "azure-pipelines.yml"),
    FileRule("container", "Dockerfile", "Dockerfile*", r"^\s*FROM\s"),
    FileRule("container", "Compose", "docker-compose*.y*ml", r"^services:"),
    FileRule("container", "Compose", "compose*.y*ml", r"^services:"),
    FileRule("api", "OpenAPI document", "openapi.y*ml", r"^openapi:"),
    FileRule("api", "OpenAPI document", "openapi.json", r"\"openapi\""),
    FileRule("api", "GraphQL", "*.graphql"),
    FileRule("api", "gRPC", "*.proto", r"^\s*service\s"),
    FileRule("framework", "Django", "manage.py", r"DJANGO_SETTINGS_MODULE"),
    FileRule("framework", "Rails", "config/application.rb", r"Rails::Application"),
    FileRule("framework", "Laravel", "artisan", r"laravel|Illuminate|artisan"),
    FileRule("orm", "Prisma", "schema.prisma", r"^\s*(datasource|model)\s"),
)

# Generated files: long, and what they say is said better by the manifest beside them.
LOCK_FILES = frozenset(
    {
        "package-lock.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "composer.lock",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "Cargo.lock",
        "Gemfile.lock",
        "go.sum",
        "Pipfile.lock",
        "mix.lock",
    }
)

_CONFIG = ("*.ini", "*.cfg", "*.toml", "*.yml", "*.yaml", "*.json", "*.properties", "*.conf")
_SOURCE = ("*.py", "*.js", "*.ts", "*.mjs", "*.cjs", "*.go", "*.rb", "*.php", "*.java", "*.kt", "*.rs", "*.cs", "*.exs")
_SQLITE = r"\bsqlite(\+\w+)?:///?|jdbc:sqlite:"
_POSTGRES = r"\bpostgres(ql)?(\+\w+)?://|jdbc:postgresql:"
_MYSQL = r"\b(mysql|mariadb)(\+\w+)?://|jdbc:(mysql|mariadb):"
_MONGO = r"\bmongodb(\+srv)?://"
_ENGINE = r"^\s*[\"']ENGINE[\"']\s*:\s*[\"']django\.db\.backends\."
_JS_ROUTE = (
    r"^\s*\w*(app|router|server|fastify)\w*\.(get|post|put|patch|delete)\(\s*[\"'`]/"
    r"|^\s*@(Get|Post|Put|Patch|Delete)\("
)
_PY_ROUTE = r"^\s*@\w*(app|router|api|bp|blueprint)\w*\.(get|post|put|patch|delete|route)\("
_URL = ("://", "jdbc:")

LINES = (
    LineRule("database", "sqlite", _CONFIG, r"^(?!\s*[#;]).*?(?P<shown>" + _SQLITE + ")", needs=_URL),
    LineRule("database", "postgresql", _CONFIG, r"^(?!\s*[#;]).*?(?P<shown>" + _POSTGRES + ")", needs=_URL),
    LineRule("database", "mysql", _CONFIG, r"^(?!\s*[#;]).*?(?P<shown>" + _MYSQL + ")", needs=_URL),
    LineRule("database", "mongodb", _CONFIG, r"^(?!\s*[#;]).*?(?P<shown>" + _MONGO + ")", needs=_URL),
    LineRule("database", "sqlite", _SOURCE, _SQLITE, likely=True, needs=("sqlite",)),
    LineRule("database", "postgresql", _SOURCE, _POSTGRES, likely=True, needs=("postgres",)),
    LineRule("database", "mysql", _SOURCE, _MYSQL, likely=True, needs=("mysql", "mariadb")),
    LineRule("database", "mongodb", _SOURCE, _MONGO, likely=True, needs=("mongodb",)),
    LineRule("database", "postgresql", ("*.yml", "*.yaml"), r"^\s*image:\s*[\"']?postgres\b", needs=("postgres",)),
    LineRule(
        "database", "mysql", ("*.yml", "*.yaml"), r"^\s*image:\s*[\"']?(mysql|mariadb)\b", needs=("mysql", "mariadb")
    ),
    LineRule("database", "mongodb", ("*.yml", "*.yaml"), r"^\s*image:\s*[\"']?mongo\b", needs=("mongo",)),
    LineRule("database", "sqlite", ("*.py",), _ENGINE + r"sqlite3", needs=("ENGINE",)),
    LineRule("database", "postgresql", ("*.py",), _ENGINE + r"postgresql", needs=("ENGINE",)),
    LineRule("database", "mysql", ("*.py",), _ENGINE + r"mysql", needs=("ENGINE",)),
    LineRule("database", "postgresql", ("schema.prisma",), r"^\s*provider\s*=\s*\"postgresql\""),
    LineRule("database", "mysql", ("schema.prisma",), r"^\s*provider\s*=\s*\"mysql\""),
    LineRule("database", "sqlite", ("schema.prisma",), r"^\s*provider\s*=\s*\"sqlite\""),
    LineRule("database", "mongodb", ("schema.prisma",), r"^\s*provider\s*=\s*\"mongodb\""),
    LineRule("server", "net/http", ("*.go",), r"\bhttp\.(ListenAndServe|HandleFunc|NewServeMux)\(", True, ("http.",)),
    LineRule(
        "server", "node:http", ("*.js", "*.ts", "*.mjs", "*.cjs"), r"\bhttps?\.createServer\(", True, ("createServer",)
    ),
    LineRule("tests", "pytest", ("pyproject.toml",), r"^\[tool\.pytest\b"),
    LineRule("tests", "pytest", ("setup.cfg", "tox.ini"), r"^\[(tool:)?pytest\]"),
    LineRule("tests", "node:test", ("package.json",), r"node (--\S+ )*--test\b"),
    LineRule("lint", "ruff", ("pyproject.toml",), r"^\[tool\.ruff\b"),
    LineRule("lint", "black", ("pyproject.toml",), r"^\[tool\.black\b"),
    LineRule("lint", "mypy", ("pyproject.toml",), r"^\[tool\.mypy\b"),
    LineRule("lint", "flake8", ("setup.cfg", "tox.ini"), r"^\[flake8\]"),
    LineRule("package_manager", "poetry", ("pyproject.toml",), r"^\[tool\.poetry\]"),
    LineRule("package_manager", "uv", ("pyproject.toml",), r"^\[tool\.uv\b"),
    LineRule("build", "setuptools", ("pyproject.toml",), r"build-backend\s*=\s*\"setuptools"),
    LineRule("build", "hatchling", ("pyproject.toml",), r"build-backend\s*=\s*\"hatchling"),
    LineRule("build", "poetry-core", ("pyproject.toml",), r"build-backend\s*=\s*\"poetry"),
    # Routes: text only, so likely; the framework facts beside them are proved by imports.
    LineRule("api", "REST", ("*.py",), _PY_ROUTE, True),
    LineRule("api", "REST", ("urls.py",), r"^\s*(re_)?path\(", True),
    LineRule("api", "REST", ("*.js", "*.ts", "*.mjs", "*.cjs"), _JS_ROUTE, True),
    LineRule("api", "REST", ("*.go",), r"\.(GET|POST|PUT|PATCH|DELETE|HandleFunc)\(\"", True),
    LineRule("api", "REST", ("*.java", "*.kt"), r"^\s*@(Get|Post|Put|Patch|Delete|Request)Mapping\b", True),
    LineRule("api", "REST", ("routes.rb",), r"^\s*(resources?|get|post)\s", True),
    LineRule("api", "REST", ("routes/api.php",), r"Route::", True),
)
