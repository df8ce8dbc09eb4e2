"""Which code made a number: a version alone stays the same from one change to the next."""

import subprocess
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path


@cache
def code() -> dict[str, str]:
    """`code`, the digest of this package and the environments, as they were when this process first asked; `commit`,
    where they lie in a git checkout.
    """
    specs = [find_spec(package) for package in ("ram_agent", "envs")]  # found, not imported
    folders = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    commit = commit_of(Path(__file__).parents[1])
    return {"code": digest(folders)} | ({"commit": commit} if commit else {})


def digest(packages: Iterable[Path]) -> str:
    """Twelve hex digits of the sha256 over the names and contents of all .py files in these folders."""
    files = {
        file.relative_to(folder.parent).as_posix(): file.read_bytes()
        for folder in packages
        for file in folder.rglob("*.py")
        if file.is_file()
    }
    whole = sha256()
    for name in sorted(files):
        whole.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return whole.hexdigest()[:12]


def commit_of(checkout: Path) -> str | None:
    """The commit that a git checkout stands at. None where the folder is none, or git cannot tell."""
    if not (checkout / ".git").exists():  # a checkout further up, around a virtual environment say, is another's
        return None
    try:
        command = ["git", f"--git-dir={checkout / '.git'}", "rev-parse", "--verify", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None
