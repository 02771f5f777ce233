"""The sidecar that AUTOMATIC1111 reads, `<stem>.json`: hands write into it too, and theirs stays.

A training describes its LoRA in the file's metadata, and the sidecar follows from that. So the
metadata of the LoRA that lies beside a sidecar tells what its training had written there.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from runtime.errors import BadFile

MAKER = {"ss_training_comment": "brushlet"}  # in the metadata of what is trained here
_STRENGTH = "strength "


def usage_hint(preferred_strength: float) -> str:
    """`modelspec.usage_hint` of a LoRA."""
    return f"{_STRENGTH}{preferred_strength}"


def a1111_fields(metadata: Mapping[str, str]) -> dict[str, object]:
    """What A1111's extra-networks page (`ui_edit_user_metadata.py`) keeps beside a LoRA of ours.

    `metadata`: as `trainer.save.kohya_metadata` gives it.
    """
    return {
        "description": metadata.get("modelspec.description", ""),
        "sd version": "SD2" if metadata["ss_v2"] == "True" else "SD1",
        "activation text": metadata.get("modelspec.trigger_phrase", ""),
        "preferred weight": float(metadata["modelspec.usage_hint"].removeprefix(_STRENGTH)),
        "negative text": "",
        "notes": f"Trained by brushlet on {metadata['ss_sd_model_name']}.",
    }


def written_by_hand(lora: Path) -> dict[str, object]:
    """What stands beside a LoRA that its training did not write; empty fields of ours do not count.

    Raises:
        BadFile: the sidecar cannot be read, so that writing it again would lose something.
    """
    former = _written_by_us(lora)
    return {
        field: value
        for field, value in _read(lora.with_suffix(".json")).items()
        if field not in _FIELDS or (value and value != former.get(field))
    }


def hand_written_notes(lora: Path) -> list[str]:
    """What people should know about it before they wait for the result; as `written_by_hand`."""
    kept = [field for field in written_by_hand(lora) if field in _FIELDS]
    if not kept:
        return []
    path = lora.with_suffix(".json")
    return [f"{path} keeps what was written there by hand: {', '.join(kept)}"]


_FIELDS = (
    *("description", "sd version", "activation text", "preferred weight"),
    *("negative text", "notes"),
)


def _written_by_us(lora: Path) -> dict[str, object]:
    try:
        with safe_open(lora, framework="np") as file:
            metadata = file.metadata() or {}
        return a1111_fields(metadata) if metadata.items() >= MAKER.items() else {}
    except (OSError, SafetensorError, KeyError, ValueError):
        return {}  # no LoRA of ours, then nothing beside it is


def _read(path: Path) -> dict[str, object]:
    todo = "correct it, or move it away from the LoRA; training again would overwrite it"
    try:
        found = json.loads(path.read_bytes())
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate cannot be written back
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise BadFile(what, where=str(path), todo=todo) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"is not JSON ({error})", where=str(path), todo=todo) from None
    if not isinstance(found, dict):
        raise BadFile("is not a JSON object", where=str(path), todo=todo)
    return found
