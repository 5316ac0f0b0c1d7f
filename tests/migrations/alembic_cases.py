from migrations.cases import Case
ALEMBIC: tuple[Case, ...] = ()
