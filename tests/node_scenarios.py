"""Two small Node.js repositories, one with plain SQL migrations and one with Prisma, and models that extend them."""

import generic_scenarios as generic
import scenario
from scenario import Step, call, submit, use

PACKAGE = """\
{
  "name": "notes",
  "version": "1.0.0",
  "main": "src/server.js",
  "scripts": {
    "start": "node src/server.js",
    "test": "node --test",
    "migrate": "node scripts/migrate.js",
    "check": "node --check src/server.js"
  },
  "dependencies": {
    "better-sqlite3": "^11.0.0",
    "express": "^4.21.0"
  }
}
"""
SERVER = """\
const express = require('express')
const { handlers } = require('./handlers')
const { SqliteStore } = require('./sqlite-store')

const app = express()
const notes = handlers(new SqliteStore(process.env.NOTES_DATABASE || 'notes.sqlite3'))
app.get('/notes', notes.list)
app.listen(3000)
"""
HANDLERS = """\
function handlers (store) {
  return {
    list (request, response) {
      response.json({ notes: store.all() })
    }
  }
}

module.exports = { handlers }
"""
STORE = """\
const Database = require('better-sqlite3')

class SqliteStore {
  constructor (path) {
    this.database = new Database(path)
  }

  all () {
    return this.database.prepare('SELECT id, text FROM notes ORDER BY id').all()
  }
}

module.exports = { SqliteStore }
"""
NODE_TESTS = """\
const test = require('node:test')
const assert = require('node:assert')
const { handlers } = require('../src/handlers')

test('notes are listed', () => {
  let sent
  handlers({ all: () => [{ id: 1, text: 'milk' }] }).list({}, { json: (body) => { sent = body } })
  assert.deepStrictEqual(sent, { notes: [{ id: 1, text: 'milk' }] })
})
"""
MIGRATE = """\
const fs = require('node:fs')
const Database = require('better-sqlite3')

const database = new Database(process.env.NOTES_DATABASE || 'notes.sqlite3')
const done = database.pragma('user_version', { simple: true })
for (const name of fs.readdirSync('migrations').sort().slice(done)) {
  database.exec(fs.readFileSync(`migrations/${name}`, 'utf8'))
  database.pragma(`user_version = ${parseInt(name)}`)
}
"""
FIRST_SQL = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n"
SECOND_SQL = """\
ALTER TABLE notes ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notes_listed ON notes (archived, id);
"""
SQL_MIGRATION = "migrations/002_archived.sql"
EXPRESS = {
    "package.json": PACKAGE,
    "src/server.js": SERVER,
    "src/handlers.js": HANDLERS,
    "src/sqlite-store.js": STORE,
    "test/handlers.test.js": NODE_TESTS,
    "scripts/migrate.js": MIGRATE,
    "migrations/001_notes.sql": FIRST_SQL,
    ".gitignore": "node_modules/\n*.sqlite3\n",
}
ARCHIVE_HANDLER = """\
    },

    archive (request, response) {
      response.status(store.archive(Number(request.params.id)) ? 204 : 404).end()
    }
  }
"""
ARCHIVE_STORE = """\
  archive (id) {
    return this.database.prepare('UPDATE notes SET archived = 1 WHERE id = ?').run(id).changes > 0
  }
}
"""
NODE_NEW_TESTS = """\
const test = require('node:test')
const assert = require('node:assert')
const { handlers } = require('../src/handlers')

function answer (found) {
  let status
  const response = { status (code) { status = code; return this }, end () {} }
  handlers({ archive: () => found }).archive({ params: { id: '7' } }, response)
  return status
}

test('archiving a note is answered with 204', () => assert.strictEqual(answer(true), 204))
test('an unknown note is not found', () => assert.strictEqual(answer(false), 404))
"""
NODE_IDS = (
    "test/archive.test.js::archiving a note is answered with 204",
    "test/archive.test.js::an unknown note is not found",
)


def express() -> dict[str, list[Step]]:
    """What a good model does in the Express repository; the index and the column are one SQL file."""
    handler = HANDLERS.replace("    }\n  }\n", ARCHIVE_HANDLER)
    store = STORE.replace("FROM notes ORDER", "FROM notes WHERE archived = 0 ORDER").replace(
        "  }\n}\n", f"  }}\n\n{ARCHIVE_STORE}"
    )
    return {
        "analyse": [
            submit(
                **generic.found(
                    stack=("package.json", 13, '"express": "^4.21.0"'),
                    architecture=("src/handlers.js", 1, "function handlers (store) {"),
                    database=("migrations/001_notes.sql", 1, "CREATE TABLE notes"),
                    api=("src/server.js", 7, "app.get('/notes', notes.list)"),
                    conventions=("src/sqlite-store.js", 3, "class SqliteStore {"),
                    tests=("test/handlers.test.js", 1, "require('node:test')"),
                )
            )
        ],
        "ask": [submit(**scenario.QUESTIONS)],
        "specify": [submit(**generic.REQUIREMENTS)],
        "design": [
            submit(
                **generic.design(
                    generic.planned("src/sqlite-store.js", "modify", "data_access"),
                    generic.planned(SQL_MIGRATION, "create", "data_access"),
                    generic.planned("src/handlers.js", "modify", "business_logic"),
                    generic.planned("src/server.js", "modify", "presentation"),
                    generic.planned("test/archive.test.js", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="src/sqlite-store.js")),
            use(
                call("write_file", path="src/sqlite-store.js", text=store),
                call("write_file", path=SQL_MIGRATION, text=SECOND_SQL),
            ),
            submit(
                summary="The column, its index and the query.",
                altered=[generic.altered("src/sqlite-store.js", "src/sqlite-store.js")],
            ),
        ],
        "implement_business_logic": [
            use(call("read_file", path="src/handlers.js")),
            # a broken file first: the layer's check has to say so
            use(call("write_file", path="src/handlers.js", text=handler.replace("    },\n", "    \n", 1))),
            submit(summary="archive()", altered=[generic.altered("src/handlers.js", "src/handlers.js")]),
            use(call("write_file", path="src/handlers.js", text=handler)),
            submit(summary="archive()", altered=[generic.altered("src/handlers.js", "src/handlers.js")]),
        ],
        "implement_presentation": [
            use(call("read_file", path="src/server.js")),
            use(
                call(
                    "edit_file",
                    path="src/server.js",
                    old="app.listen",
                    new="app.post('/notes/:id/archive/', notes.archive)\napp.listen",
                )
            ),
            submit(summary="The route.", altered=[generic.altered("src/server.js", "src/server.js")]),
        ],
        "review_security": [submit(overview="Nothing to report.")],
        "review_migrations": [submit(**generic.review("Drop the index, then the column."))],
        "test": [
            use(call("write_file", path="test/archive.test.js", text=NODE_NEW_TESTS)),
            use(call("run_tests")),
            submit(**generic.report(*NODE_IDS)),
        ],
    }


SCHEMA = """\
datasource db {
  provider = "sqlite"
  url      = env("DATABASE_URL")
}

generator client {
  provider = "prisma-client-js"
}

model Note {
  id   Int    @id @default(autoincrement())
  text String
}
"""
PRISMA_MIGRATION = "prisma/migrations/20260102000000_archived/migration.sql"
PRISMA = {
    "package.json": PACKAGE.replace('"better-sqlite3": "^11.0.0"', '"@prisma/client": "^6.0.0"').replace(
        '    "migrate": "node scripts/migrate.js",\n', ""
    ),
    "prisma/schema.prisma": SCHEMA,
    "prisma/migrations/20260101000000_notes/migration.sql": FIRST_SQL,
    "src/server.js": "const express = require('express')\nexpress().listen(3000)\n",
    "src/handlers.js": HANDLERS,
    "test/handlers.test.js": NODE_TESTS,
    ".gitignore": "node_modules/\n",
}


def prisma() -> dict[str, list[Step]]:
    """What a good model does in the Prisma repository: schema, SQL migration and a test of what it can reach."""
    steps = express()
    schema = SCHEMA.replace("text String\n", "text String\n  archived Boolean @default(false)\n")
    return {
        **steps,
        "analyse": [
            submit(
                **generic.found(
                    stack=("package.json", 12, '"express": "^4.21.0"'),
                    architecture=("src/handlers.js", 1, "function handlers (store) {"),
                    database=("prisma/schema.prisma", 2, 'provider = "sqlite"'),
                    api=("src/server.js", 2, "express().listen(3000)"),
                    conventions=("prisma/schema.prisma", 10, "model Note {"),
                    tests=("test/handlers.test.js", 1, "require('node:test')"),
                )
            )
        ],
        "design": [
            submit(
                **generic.design(
                    generic.planned("prisma/schema.prisma", "modify", "data_access"),
                    generic.planned(PRISMA_MIGRATION, "create", "data_access"),
                    generic.planned("src/handlers.js", "modify", "business_logic"),
                    generic.planned("test/archive.test.js", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="prisma/schema.prisma")),
            use(
                call("write_file", path="prisma/schema.prisma", text=schema),
                call("write_file", path=PRISMA_MIGRATION, text=SECOND_SQL),
            ),
            submit(
                summary="The field and its migration.",
                altered=[generic.altered("prisma/schema.prisma", "prisma/schema.prisma")],
            ),
        ],
    }
