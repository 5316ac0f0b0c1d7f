"""What published commits say about a run: trailers read back from the person's repository, with plumbing alone."""

import re
from collections.abc import Mapping
from pathlib import Path

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.gitcall import Git, find_git, owner_of

RUN, DECISIONS = "Backend-Crew-Run", "Backend-Crew-Decisions"
_COMMITS = 200


def anchors(root: Path, run: str) -> Mapping[str, str]:
    """Every commit of any branch or tag that carries the head of a run's decisions: commit -> head.

    Nothing of the repository is run: no signature check, no replaced objects, no pager. Raises ToolRefused when the
    repository is gone.
    """
    if not (root / ".git").exists():
        raise ToolRefused(f"there is no repository at {root} any more")
    git = Git(find_git(outside=root), owner=owner_of(root / ".git"))
    wanted = ("--all", "--fixed-strings", f"--grep={RUN}: {run}", f"--max-count={_COMMITS}")
    found: dict[str, str] = {}
    for commit in git.run("--no-replace-objects", "rev-list", *wanted, cwd=root).stdout.split():
        trailers = _trailers(git.run("--no-replace-objects", "cat-file", "commit", commit, cwd=root).stdout)
        if trailers.get(RUN) == run and DECISIONS in trailers:
            found[commit] = trailers[DECISIONS]
    return found


def _trailers(commit: str) -> Mapping[str, str]:
    """The last paragraph of a commit message, as far as it is made of trailers."""
    closing = commit.partition("\n\n")[2].strip().split("\n\n")[-1]
    return dict(re.findall(r"(?m)^([A-Za-z0-9-]+): (.*?)\s*$", closing))
