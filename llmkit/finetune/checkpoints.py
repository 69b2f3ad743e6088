"""The checkpoints of a training run: which are whole, and from which one a training goes on."""

from __future__ import annotations

import json
from pathlib import Path

from llmkit.errors import UsageError


def checkpoint(folder: Path, resume: str, recipe_key: str, launch_kind: str = "single") -> Path | None:
    """Returns the checkpoint to resume from. UsageError for one that is not whole, or of another recipe or kind of
    launch."""
    if resume == "never":
        return None
    if launch_kind not in ("single", "ddp") and (resume != "auto" or any(folder.glob("checkpoint-*"))):
        raise UsageError(
            f"a training under {launch_kind} cannot be resumed, because each process keeps its own part of the state",
            "--resume never --force starts again; ddp can resume",
        )
    if resume != "auto":
        resumed_path = Path(resume)
        if not is_whole(resumed_path):
            raise UsageError(
                f"{resumed_path} is not a whole checkpoint", "give a folder checkpoint-N of a training run"
            )
        if key_of(resumed_path.parent) != recipe_key:
            raise UsageError(
                f"{resumed_path} is of another recipe ({key_of(resumed_path.parent) or 'unknown'}, "
                f"this one is {recipe_key})",
                "use the recipe that it was trained with: recipe.resolved.yaml in its run folder",
            )
        return resumed_path
    if key_of(folder) != recipe_key:
        return None
    whole_checkpoints = [resumed_path for resumed_path in folder.glob("checkpoint-*") if is_whole(resumed_path)]
    return max(whole_checkpoints, key=lambda resumed_path: int(resumed_path.name.partition("-")[2]), default=None)


def is_whole(checkpoint_path: Path) -> bool:
    """Returns whether a checkpoint is complete: its state is the last file that is written."""
    file_names = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
    if not all((checkpoint_path / name).is_file() for name in file_names):
        return False
    try:
        json.loads((checkpoint_path / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def key_of(folder: Path) -> str | None:
    digest_path = folder / "recipe.digest"
    return digest_path.read_text(encoding="utf-8").strip() if digest_path.is_file() else None
