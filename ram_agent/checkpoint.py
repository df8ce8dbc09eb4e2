"""Checkpoints: written whole or not at all, the last few kept, verified, read without running anybody's code.

    checkpoints/agent-000007.pt ...   the last K, each a file of its own that is never written to again
    checkpoints/SHA256SUMS            their digests, as `sha256sum -c SHA256SUMS` reads them
    checkpoints/agent.pt              another name of the newest; to give it that name is what makes a save count

A process that is killed between any two of these steps leaves a checkpoint of before or of after, and digests that
hold for both.
"""

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ram_agent.files import partial_name, remove_partials, sync_folder, write_whole
from ram_agent.progress import warn

FORMAT = 1
"""Version of the file's layout."""
SUMS = "SHA256SUMS"


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: the message names the file and what is wrong with it."""


def judged_weights(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved learner is judged by: its best weights in validation; before the first validation their average, or
    where it has none, the weights as they stand. An export has no others.
    """
    if "weights" in saved:
        return saved["weights"]
    if saved["best"]:
        return saved["best"]["weights"]
    learner = saved["learner"]
    average = learner.get("average")
    return average["policy"] if average and average["updates"] else learner["policy"]


def give_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give a module the weights that were saved of one. Raises `ValueError` (see `check_weights`), and torch's own
    `RuntimeError` where names or shapes are another's.
    """
    check_weights(module, weights)
    module.load_state_dict(weights)


def check_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Raise `ValueError` for what torch would take without a word: numbers of another type, NaN and infinity."""
    own = module.state_dict()
    for name, value in weights.items():
        if name in own and value.dtype != own[name].dtype:
            raise ValueError(f"{name} is of {value.dtype}, expected {own[name].dtype}; train again")
        if not value.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity; take another checkpoint, or train again")


# -------------------------------------------------------------------- writing


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to one file."""
    write_whole(path, _encode(content))


def keep_checkpoint(path: Path, content: dict[str, Any], keep: int) -> None:
    """Write the newest of the last `keep` checkpoints; `path` becomes another name of it."""
    folder, encoded = path.parent, _encode(content)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder)
    if path.is_file() and not numbered(path):  # saved without `keep`
        _name_too(path, _number(path, 1))
    older = numbered(path)
    newest = _number(path, 1 + max(older, default=0))
    own, listed = _numbers(path), _read_sums(folder)
    # Another agent's checkpoints may lie in the same folder, in the same manifest. And a file that was damaged since it
    # was listed must not be given a new digest.
    sums = {name: digest for name, digest in listed.items() if not own.fullmatch(name) and (folder / name).exists()}
    for file in older.values():
        sums[file.name] = listed.get(file.name) or sha256(file.read_bytes()).hexdigest()
    write_whole(newest, encoded)
    sums[newest.name] = sha256(encoded).hexdigest()
    _write_sums(folder, sums)
    _name_too(newest, path)
    outdated = [older[number] for number in sorted(older)][: max(0, len(older) + 1 - keep)]
    if outdated:
        _write_sums(folder, {name: digest for name, digest in sums.items() if folder / name not in outdated})
        for file in outdated:
            file.unlink(missing_ok=True)


def numbered(path: Path) -> dict[int, Path]:
    """The checkpoints that are kept for `path`, by number."""
    pattern = _numbers(path)
    matches = [(pattern.fullmatch(file.name), file) for file in path.parent.glob("*")]
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def _numbers(path: Path) -> re.Pattern[str]:
    """What the names of numbered checkpoints of `path` look like."""
    return re.compile(re.escape(path.stem) + r"-(\d{6,})" + re.escape(path.suffix))


def is_checkpointed(path: Path) -> bool:
    """Whether there is anything to go on from."""
    return path.is_file() or bool(numbered(path))


# -------------------------------------------------------------------- reading


def read_newest(path: Path, say: Callable[[str], None] = warn) -> dict[str, Any]:
    """Read `path`; where it is damaged or gone, say so, and read the youngest kept one that is whole.

    Raises `CheckpointError` where there is none.
    """
    kept = sorted(numbered(path).values())
    listed = [name for name in _read_sums(path.parent) if name.startswith(f"{path.stem}-")]
    killed_in_the_first_save = not path.exists() and kept and kept[-1].name >= max(listed, default="")
    try:
        return read_checkpoint(kept[-1] if killed_in_the_first_save else path)
    except CheckpointError as error:
        for _, older in sorted(numbered(path).items(), reverse=True):
            try:
                content = read_checkpoint(older)
            except CheckpointError:
                continue
            say(f"{error}; going on from {older}, the newest that is whole")
            return content
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote: tensors and plain values only, no pickled code. Raises `CheckpointError`."""
    try:
        encoded = path.read_bytes()
        _check_sum(path, encoded)
        _check_archive(encoded)
        content = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path}: no such file") from None
    except CheckpointError:
        raise
    except Exception as error:  # a damaged archive or pickle can raise nearly anything
        raise CheckpointError(
            f"checkpoint {path}: damaged or not a checkpoint of ram-agent ({type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"checkpoint {path}: expected format {FORMAT}, found {found!r}")
    return content


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Within the block, what a whole checkpoint lacks, or has otherwise than it must be, is a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(f"checkpoint {path}: does not fit this ram-agent or this run ({what})") from None


def _check_sum(path: Path, encoded: bytes) -> None:
    """A kept checkpoint has the digest that stands beside it; `path` itself has one of them."""
    sums = {name: digest for name, digest in _read_sums(path.parent).items() if name in _kept_names(path)}
    wanted = [sums[path.name]] if path.name in sums else list(sums.values()) if numbered(path) else []
    if wanted and sha256(encoded).hexdigest() not in wanted:
        raise CheckpointError(f"checkpoint {path}: damaged (its sha256 is not the one in {path.parent / SUMS})")


def _check_archive(encoded: bytes) -> None:
    """torch.load looks at no checksum, and unpacks whatever size a packed entry claims to have."""
    with zipfile.ZipFile(io.BytesIO(encoded)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise zipfile.BadZipFile("torch.save packs nothing")
        if sum(entry.file_size for entry in entries) > len(encoded):
            raise zipfile.BadZipFile("entries larger than the file")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)


# -------------------------------------------------------------------- names and digests


def _encode(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    return buffer.getvalue()


def _number(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number:06d}{path.suffix}")


def _kept_names(path: Path) -> set[str]:
    """Those that `path` is one of, or another name of."""
    stem = re.sub(r"-\d{6,}$", "", path.stem)
    return {file.name for file in numbered(path.with_name(stem + path.suffix)).values()}


def _name_too(file: Path, name: Path) -> None:
    """Give a file a second name, in one step; a copy where the file system has no such thing."""
    partial = partial_name(name)
    try:
        os.link(file, partial)
    except OSError:
        write_whole(name, file.read_bytes())
        return
    os.replace(partial, name)
    sync_folder(name.parent)


def _read_sums(folder: Path) -> dict[str, str]:
    """File name → digest; lines that are none are left out."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    matches = (re.fullmatch(r"([0-9a-f]{64})  (\S+)", line) for line in lines)
    return {match[2]: match[1] for match in matches if match}


def _write_sums(folder: Path, sums: dict[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    write_whole(folder / SUMS, text.encode())
