"""The one door through which text is printed.

Text from outside is shown as it is, never read as markup, with control characters escaped; a symbol that the output
cannot encode becomes another one; an output that is gone (a closed pipe, a full disk) ends nothing but the printing.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from pydantic import BaseModel
from rich.console import Console

from vgharness.formatting import escaped

_ERRORS: Final = "vgharness"
# What stands for a symbol where the output's encoding lacks it.
_SUBSTITUTES: Final = {
    "×": "x", "÷": "/", "–": "-", "−": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "±": "+-", "∞": "inf",
    "‖": "||", "₂": "2", "∂": "d", "δ": "delta", "σ": "sigma", "χ": "chi", "φ": "phi", "Δ": "Delta", "√": "sqrt",
    "█": "#", "░": ".", "✓": "+", "✗": "x", "◐": "~", "«": "<<", "»": ">>",
    "“": '"', "”": '"', "’": "'", "‘": "'", "´": "'", "·": "*", "²": "^2",
    "│": "|", "─": "-", "━": "=", "╸": "=", "╺": "-", "•": "*",
}  # fmt: skip


def console(stderr: bool = False) -> Console:
    """A console that prints names as they are: no markup, no emoji codes, no highlighting."""
    return Console(highlight=False, markup=False, emoji=False, stderr=stderr)


def say(text: str, *, end: str = "\n", stderr: bool = False) -> None:
    """Prints ``text``, which may have several lines of ours; names in it have been through ``escaped``."""
    print(text, end=end, file=sys.stderr if stderr else sys.stdout)


def say_json(record: BaseModel) -> None:
    """Prints a record as JSON in ASCII, which every output can encode and no terminal obeys."""
    say(json.dumps(record.model_dump(mode="json"), indent=1))


def say_table(text: str) -> None:
    """Prints text that other programs read as it is; only on a terminal, which would obey them, are control characters
    in it shown escaped."""
    say(escaped(text, keep=lambda x: x == "\n" or x.isprintable()) if sys.stdout.isatty() else text, end="")


def complain(program: str, message: object) -> None:
    """Prints one line to stderr, whatever the message holds."""
    say(f"{program}: {escaped(str(message))}", stderr=True)


def encodable(text: str, encoding: str | None) -> str:
    """``text`` with other symbols for those that ``encoding`` lacks."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, _ERRORS).decode(encoding)


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Within, printing raises neither for a symbol that the output lacks nor for an output that is gone.

    What is printed after the output is gone is dropped. A full disk is reported once, on stderr; a closed pipe is what
    whoever closed it wanted.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Output(sys.stdout), _Output(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Output:
    """A text stream that stands in for ``stream``."""

    def __init__(self, stream: TextIO | None) -> None:
        self._gone = stream is None  # as it is for a program without a terminal on Windows
        self._stream = stream or io.StringIO()
        reconfigure = getattr(self._stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)

    def write(self, text: str) -> int:
        if not self._gone:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lost(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if not self._gone:
            try:
                self._stream.flush()
            except OSError as error:
                self._lost(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lost(self, error: OSError) -> None:
        self._gone = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            # What is still buffered must not raise again when Python flushes it at the end.
            void = os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, self._stream.fileno())
            os.close(void)
        if not isinstance(error, BrokenPipeError) and sys.stderr is not self:
            with contextlib.suppress(OSError):
                print(f"vgharness: output cannot be written ({error.strerror}); the work goes on", file=sys.stderr)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    parts = (_SUBSTITUTES.get(char) or escaped(char, keep=str.isascii) for char in found)
    return "".join(parts), error.end


codecs.register_error(_ERRORS, _substitute)
