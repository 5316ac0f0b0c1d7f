"""All tables of a repository: each ORM that its files mention, by that ORM's rules."""

from collections.abc import Mapping

from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved
from backend_crew.tools.tables import django, prisma, sqlalchemy, typeorm
from backend_crew.tools.tables.protocol import Orm, Table, TableScan

ORMS: tuple[Orm, ...] = (sqlalchemy.ORM, django.ORM, prisma.ORM, typeorm.ORM)


def find_tables(files: Mapping[str, bytes] | Project) -> TableScan:
    """The tables of a repository's files by path (POSIX, relative), and what the source leaves open.

    Tests, migrations, vendored code and files over a megabyte are not looked at. Never raises on what the files hold.
    """
    project = files if isinstance(files, Project) else Project(files)
    tables: dict[Table, None] = {}
    unresolved: dict[Unresolved, None] = {}
    for orm in ORMS:
        named = set(project.sources.mentioning(orm.suffixes, orm.words))
        if named and orm.also:
            named.update(project.sources.mentioning(orm.suffixes, orm.also))
        if named:
            scan = orm.read(project, tuple(sorted(named)))
            tables.update(dict.fromkeys(scan.tables))
            unresolved.update(dict.fromkeys(scan.unresolved))
    return TableScan(
        tuple(sorted(tables, key=lambda one: (one.file, one.line, one.name))),
        tuple(sorted(unresolved, key=lambda one: (one.file, one.line, one.why))),
    )
