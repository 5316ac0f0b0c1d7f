from migrations.cases import Case
DJANGO: tuple[Case, ...] = ()
