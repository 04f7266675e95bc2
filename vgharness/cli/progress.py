"""Bars of what is not a study: images that are decoded, cases that are run; lines when piped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


@contextmanager
def decoding(console: Console) -> Iterator[Callable[[int, int], None]]:
    """What ``load_images`` is to call while it decodes a folder."""
    with _bar(console) as bar:
        task = bar.add_task("decoding images", total=None)

        def progress(done: int, total: int) -> None:
            if console.is_terminal:
                bar.update(task, completed=done, total=total)
            elif done == total or done % 10_000 == 0:
                console.print(f"decoded {done:,} of {total:,} images")

        yield progress


def counted(console: Console, what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Passes on ``items``, of which there are ``total``, with a bar on a terminal that says ``what`` is being done."""
    with _bar(console) as bar:
        yield from bar.track(items, total=total, description=what)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
