"""Reads back what an offline run of Weights & Biases wrote."""

import json
import struct
from pathlib import Path
from typing import Any

_BLOCK, _HEAD = 32_768, 7
_WHOLE, _FIRST, _LAST = 1, 2, 4


def read_run(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the only run below ``folder``, and its summary."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # an offline run's last lines are written by another process, which this waits for
    (path,) = folder.rglob("run-*.wandb")
    rows, summary = [], {}
    for content in _records(path.read_bytes()):
        record = Record.FromString(content)
        if record.HasField("history"):
            rows.append(_items(record.history.item))
        if record.HasField("summary"):
            summary |= _items(record.summary.update)
    return rows, summary


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> list[bytes]:
    """The file is a log of LevelDB, with a head of its own as long as that of a part of a record."""
    found, parts, at = [], b"", _HEAD
    while at + _HEAD <= len(content):
        if _BLOCK - at % _BLOCK < _HEAD:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + _HEAD])
        part = content[at + _HEAD : at + _HEAD + length]
        parts = part if kind in (_WHOLE, _FIRST) else parts + part
        if kind in (_WHOLE, _LAST):
            found.append(parts)
        at += _HEAD + length
    return found
