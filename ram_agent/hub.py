"""Pushing a folder to the Hugging Face Hub, with its own client and the login it keeps."""

from importlib import import_module
from pathlib import Path
from typing import Any

from ram_agent.extras import to_install


def hub_client() -> Any:
    """The client's module. Raises `ValueError` where it is not installed."""
    try:
        return import_module("huggingface_hub")
    except ImportError:
        remedy = to_install("huggingface_hub", "hub")
        raise ValueError(f"--push-to-hub: needs huggingface_hub, which is not installed; {remedy}") from None


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload every file of the folder to `owner/name`, made where it is missing; returns its address.

    Raises `ValueError` where it is to be private, and is there and public: the Hub does not change what is there.
    """
    api = hub_client().HfApi()
    made = api.create_repo(repo_id=repository, private=private, exist_ok=True)
    if private and not api.repo_info(repo_id=repository).private:
        raise ValueError("it is there, and public: nothing was uploaded; make it private first, or take another name")
    api.upload_folder(folder_path=str(folder), repo_id=repository, commit_message="ram-agent export")
    return str(made)
