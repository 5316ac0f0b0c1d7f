"""Dependencies that Maven, Gradle and Go have downloaded for the person: read-only in the sandbox, which has no network.

Only folders of packages are mounted. What lies beside them (settings with passwords, keys) stays outside.
"""

from dataclasses import replace
from pathlib import Path

from backend_crew.tools.runtime import Runtime

# Files of the repository that show the tool; the folder below the home; the variable that names it, and how.
_CACHES = (
    (("pom.xml",), ".m2/repository", "MAVEN_OPTS", "-Dmaven.repo.local={}"),
    (("build.gradle", "build.gradle.kts"), ".gradle/caches", "GRADLE_RO_DEP_CACHE", "{}"),
    (("go.mod",), "go/pkg/mod", "GOMODCACHE", "{}"),
)
# Debian's Maven starts by these; the settings beside them can hold passwords.
_MAVEN = (Path("/etc/maven/m2.conf"), Path("/etc/maven/logging"))


def with_caches(runtime: Runtime, root: Path, home: Path) -> Runtime:
    """The runtime with the package folders of the tools that build the repository at `root`, where there are any."""
    if (root / "pom.xml").is_file():
        runtime = replace(runtime, mounts=tuple(sorted({*runtime.mounts, *(one for one in _MAVEN if one.exists())})))
    for files, rel, variable, value in _CACHES:
        folder = home / rel
        wanted = any((root / name).is_file() for name in files) and home.is_absolute()
        # A link could lead anywhere, and a folder around the repository would lie over it.
        if not wanted or not folder.is_dir() or folder.resolve() != home.resolve() / rel or root.is_relative_to(folder):
            continue
        env = {variable: value.format(folder), **runtime.env}
        runtime = replace(runtime, mounts=tuple(sorted({*runtime.mounts, folder})), env=env)
    return runtime
