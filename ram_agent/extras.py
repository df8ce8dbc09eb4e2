"""What is installed only where somebody wants it: the extras of pyproject.toml."""


def to_install(package: str, extra: str) -> str:
    """What to type for a package that is missing: for who installed ram-agent, and for who works in a checkout."""
    return f"pip install {package} (in a checkout: pip install -e '.[{extra}]')"
