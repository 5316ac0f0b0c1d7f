"""Which repository paths agents may not read or write; names are compared folded, so `.ENV` is `.env`."""

import re
import unicodedata
from fnmatch import fnmatchcase, translate

SECRET_MARK = "[secret]"
"""Stands where a secret stood, in every text that leaves for a model, a log or a report."""
_EXAMPLE_SUFFIXES = (".example", ".sample", ".template", ".dist")

_SECRET_NAMES = {
    **dict.fromkeys(("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"), "a private key"),
    **dict.fromkeys((".netrc", "_netrc", ".pgpass", ".my.cnf", ".git-credentials", ".htpasswd"), "a credentials file"),
    **dict.fromkeys((".npmrc", ".pypirc", ".yarnrc", ".yarnrc.yml", ".dockercfg"), "a registry credentials file"),
    **dict.fromkeys(("credentials.json", "secrets.json", "secrets.yml", "secrets.yaml"), "a credentials file"),
    **dict.fromkeys(
        ("secrets.toml", "terraform.tfvars", ".secrets.toml", ".secrets.yaml", ".secrets.yml"), "a credentials file"
    ),
    **dict.fromkeys(("auth.json", ".dev.vars", "local.settings.json", ".s3cfg", ".vault-token"), "a credentials file"),
    **dict.fromkeys(("kubeconfig", "application_default_credentials.json"), "a credentials file"),
}
_SECRET_PATTERNS = {
    **dict.fromkeys(("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", "*.kdbx"), "a private key"),
    "*service-account*.json": "a credentials file",
    "*service_account*.json": "a credentials file",
    **dict.fromkeys(("client_secret*.json", "*-credentials.json", "firebase-adminsdk*.json"), "a credentials file"),
    **dict.fromkeys(("*.auto.tfvars", "*.tfvars.json"), "a credentials file"),
    "*.tfstate": "an infrastructure state file, which holds secrets",
    "*.tfstate.*": "an infrastructure state file, which holds secrets",
}
_SECRET_FOLDERS = {
    ".git": "the repository's own records",
    **dict.fromkeys((".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker"), "a credentials folder"),
}
_DATABASE_PATTERNS = tuple(
    f"*.{kind}{tail}"
    for kind in ("sqlite", "sqlite2", "sqlite3", "db", "db3", "mdb", "duckdb")
    for tail in ("", "-wal", "-shm", "-journal")
)
# Nearly no name matches any pattern: one look says so for the 20,000 of a large repository.
_ANY_PATTERN = re.compile("|".join(map(translate, (*_SECRET_PATTERNS, *_DATABASE_PATTERNS))))
# What a tool of the person (an editor, git, a CI service, the interpreter) would execute by itself.
_RUN_FOLDERS = {
    **dict.fromkeys((".husky", ".githooks", ".hooks", ".lefthook"), "git hooks run on the person's machine"),
    **dict.fromkeys((".vscode", ".idea", ".devcontainer", ".zed", ".cursor"), "editor settings can run commands"),
    **dict.fromkeys((".vs", ".fleet", ".nvim", ".vim"), "editor settings can run commands"),
    **dict.fromkeys((".circleci", ".buildkite", ".gitea", ".forgejo", ".woodpecker"), "CI workflows run with secrets"),
    **dict.fromkeys((".azure-pipelines", ".semaphore", ".teamcity", ".tekton"), "CI workflows run with secrets"),
    **dict.fromkeys((".yarn", ".mise"), "a tool of the person runs what lies there"),
    **dict.fromkeys((".claude", ".crewai", ".backend-crew"), "settings of agents belong to the person"),
    **dict.fromkeys((".codex", ".gemini", ".continue", ".windsurf"), "settings of agents belong to the person"),
}
_RUN_NAMES = {
    # Attributes choose which of the person's filter, merge and diff programs git runs on a file.
    **dict.fromkeys((".gitmodules", ".gitconfig", ".lfsconfig", ".gitattributes"), "git settings belong to the person"),
    **dict.fromkeys((".gitlab-ci.yml", ".travis.yml", "azure-pipelines.yml"), "CI workflows run with secrets"),
    **dict.fromkeys(("jenkinsfile", "bitbucket-pipelines.yml", ".drone.yml"), "CI workflows run with secrets"),
    **dict.fromkeys((".azure-pipelines.yml", "appveyor.yml", ".appveyor.yml"), "CI workflows run with secrets"),
    **dict.fromkeys(("cloudbuild.yaml", "cloudbuild.yml", "buildspec.yml"), "CI workflows run with secrets"),
    **dict.fromkeys((".drone.yaml", ".gitlab-ci.yaml", ".travis.yaml"), "CI workflows run with secrets"),
    **dict.fromkeys((".woodpecker.yml", ".woodpecker.yaml"), "CI workflows run with secrets"),
    **dict.fromkeys((".mise.toml", "mise.toml", ".mise.local.toml", "mise.local.toml"), "it sets what a shell runs"),
    **dict.fromkeys((".rtx.toml", ".pnp.cjs", ".pnp.js", ".pnp.loader.mjs"), "a tool of the person runs it"),
    **dict.fromkeys((".pre-commit-config.yaml", ".pre-commit-config.yml"), "git hooks run on the person's machine"),
    **dict.fromkeys(("lefthook.yml", "lefthook.yaml", "lefthook.toml"), "git hooks run on the person's machine"),
    **dict.fromkeys((".lefthook.yml", ".lefthook.yaml", ".lefthook.toml"), "git hooks run on the person's machine"),
    **dict.fromkeys((".huskyrc", ".huskyrc.json", ".overcommit.yml"), "git hooks run on the person's machine"),
    **dict.fromkeys((".simple-git-hooks.json", "simple-git-hooks.json"), "git hooks run on the person's machine"),
    **dict.fromkeys((".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".dir-locals.el"), "editor settings can run commands"),
    **dict.fromkeys((".cursorrules", ".windsurfrules", ".aider.conf.yml"), "settings of agents belong to the person"),
    **dict.fromkeys((".mcp.json", ".crewignore"), "settings of agents belong to the person"),
}
_CI_PREFIXES = (".github/workflows", ".github/actions", ".gitlab/ci")
_BOT_FILES = (".github/dependabot.yml", ".github/dependabot.yaml")
#: As a file of any kind (source, compiled, extension) or as a package: Python imports it by this name.
_START_MODULES = ("sitecustomize", "usercustomize")


def fold(path: str) -> str:
    """Give the path in the form that a careless file system might see: NFKC, case-folded, nothing invisible."""
    if path.isascii():  # the form that it has already, and nothing of it is invisible
        visible = path
    else:
        visible = "".join(char for char in unicodedata.normalize("NFKC", path) if unicodedata.category(char) != "Cf")
    parts = visible.casefold().replace("\\", "/").split("/")
    # Some file systems drop dots and blanks at the end of a name: `.git.` is `.git` there.
    return "/".join(part if part in (".", "..") else part.rstrip(". ") for part in parts)


def is_env_file(name: str) -> bool:
    """Say whether a file name is that of a real `.env` file; `.env.example` and its like hold no secrets."""
    folded = fold(name)
    return (folded.startswith(".env") or folded.endswith(".env")) and not folded.endswith(_EXAMPLE_SUFFIXES)


def is_read_denied(path: str) -> str | None:
    """Give the reason why a path inside the repository may not be read, or None."""
    parts = [part for part in fold(path).split("/") if part]
    for part in parts:
        if reason := _SECRET_FOLDERS.get(part):
            return reason
        if is_env_file(part):
            return "an environment file, which holds secrets"
    name = parts[-1] if parts else ""
    if reason := _SECRET_NAMES.get(name):
        return reason
    if _ANY_PATTERN.match(name) is None:
        return None
    for pattern, reason in _SECRET_PATTERNS.items():
        if fnmatchcase(name, pattern):
            return reason
    if any(fnmatchcase(name, pattern) for pattern in _DATABASE_PATTERNS):
        return "a database file"
    return None


def is_write_denied(path: str) -> str | None:
    """Give the reason why a path inside the repository may not be written, or None; all that is unreadable counts."""
    if reason := is_read_denied(path):
        return reason
    parts = [part for part in fold(path).split("/") if part]
    for part in parts:
        if reason := _RUN_FOLDERS.get(part):
            return reason
    name = parts[-1] if parts else ""
    if name.endswith(".code-workspace"):
        return "editor settings can run commands"
    if name.endswith(".pth") or any(part.split(".", 1)[0] in _START_MODULES for part in parts):
        return "the interpreter runs it at every start"
    # As a folder, `.gitmodules` would be taken for the file by nobody.
    if reason := next((_RUN_NAMES[part] for part in parts if part in _RUN_NAMES), None):
        return reason
    joined = "/".join(parts) + "/"
    if any(joined.startswith(f"{prefix}/") for prefix in _CI_PREFIXES):
        return "CI workflows run with secrets"
    if "/".join(parts) in _BOT_FILES or "/".join(parts).startswith(("mise/config.", ".config/mise")):
        return "a bot or tool of the person does what it says"
    return None
