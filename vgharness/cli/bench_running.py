"""What the commands of ``vgharness bench`` share: options, and measuring, showing and writing what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console

from vgharness.errors import UsageError
from vgharness.system.files import check_file, write_text
from vgharness.system.process import configure_process
from vgharness.system.terminal import console

if TYPE_CHECKING:
    import torch

    from vgharness.records import Machine, Record

Found = TypeVar("Found", bound="Record")

PROGRAM: Final = "vgharness bench"

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Json = Annotated[Path | None, typer.Option(help="also write the values to this file, with hardware and versions")]


def check_least(options: Mapping[str, tuple[int | None, int]]) -> None:
    """Checks each option's value against the least that it may be. Raises ``UsageError``."""
    for option, (value, least) in options.items():
        if value is not None and value < least:
            raise UsageError(f"{option} {value}: give {least} or more")


def run_bench(
    device: str,
    json: Path | None,
    measure: Callable[[torch.device, Machine], Found],
    show: Callable[[Console, Found], None],
) -> None:
    """Measures on the device of that name, shows what was found, and writes it where ``json`` is given.

    Raises ``UsageError`` for a file that cannot be written and a device that is not there, before anything is measured.
    """
    if json is not None:
        check_file(json, "--json")
    configure_process()  # as a study does, before torch is imported
    from vgharness.system.device import pick_device
    from vgharness.system.environment import describe

    where = pick_device(device)
    found = measure(where, describe(where))
    show(console(), found)
    if json is not None:
        write_text(json, found.model_dump_json(indent=1))
