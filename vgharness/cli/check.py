"""``vgharness check MODEL``: what is wrong with a model's gradients, without a test being written."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError
from vgharness.formatting import escaped, in_one_line
from vgharness.system.files import check_file, shown
from vgharness.system.terminal import console, say, say_json

if TYPE_CHECKING:
    from vgharness.check.batch import Batch
    from vgharness.check.model_source import Factory
    from vgharness.gradflow.diagnosis import Diagnosis
    from vgharness.gradflow.sample import FlowSample

PROBLEMS = 1

_INPUT = (
    "a shape such as 8,3,32,32; several as 'x=8,3,32,32 t=8:int64:1000 mask=8,16:bool'; or MODULE:NAME of a callable "
    "that makes inputs of a seed, a DataLoader or a Dataset"
)
_LOSS = "cross_entropy, mse, mean_square, output.NAME or MODULE:CALLABLE"


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="package.module:Factory, path/file.py:Factory, torchvision:NAME, timm:NAME or hf:NAME (random weights)"
        ),
    ],
    input_: Annotated[
        str | None,
        typer.Option("--input", help=_INPUT),
    ] = None,
    loss: Annotated[str | None, typer.Option(help=_LOSS)] = None,
    seeds: Annotated[int, typer.Option(help="how many models are made and measured")] = 5,
    layers: Annotated[str | None, typer.Option(help="which layers: a name or a glob such as encoder.*")] = None,
    remedies: Annotated[bool, typer.Option("--remedies", help="try on copies what may help, print its code")] = False,
    html: Annotated[Path | None, typer.Option(help="also write a page to this file")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON, for other programs")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 for a warning too")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print markdown, fit for a pull-request comment")
    ] = False,
) -> None:
    """Say whether gradients flow through a model at initialisation, and if not, from which layer on and what helps.

    Exit status: 0 healthy, 1 a problem (with --strict a warning too), 2 bad input.
    """
    with usage_errors("vgharness check"):
        if seeds < 1:
            raise UsageError(f"--seeds {seeds}: give 1 or more")
        _refuse_with_json(json, markdown=markdown, remedies=remedies)
        if html is not None:
            check_file(html, "--html")
        from vgharness.check.batch import choose_batch  # torch and scipy are slow to import
        from vgharness.check.model_source import load_factory

        factory = load_factory(model)
        batch = choose_batch(factory, input_)
        if loss is not None:
            batch = batch.with_loss(loss)
        sample = _measure(model, factory, batch, seeds, layers)
        if json:
            _print_json(model, sample, batch)
        elif markdown:
            say("\n".join(_markdown(sample, batch.text)))
        else:
            _print(sample, batch.text)
        if remedies:
            _try_remedies(model, factory, batch, seeds, as_markdown=markdown)
        if html is not None:
            say(f"page written to {shown(_write_page(sample, html))}", stderr=markdown or json)
    bad = sample.diagnosis.problems if strict else not sample.diagnosis.healthy
    raise typer.Exit(PROBLEMS if bad else 0)


def _refuse_with_json(json: bool, **others: bool) -> None:
    """Raises for an option that the JSON does not go with."""
    for name, given in others.items():
        if json and given:
            raise UsageError(f"--json and --{name}: give one of them")


def _measure(name: str, factory: Factory, batch: Batch, seeds: int, layers: str | None) -> FlowSample:
    from vgharness.gradflow.measurement import measure

    try:
        return measure(
            factory,
            batch,
            batch.loss.function,
            seeds=seeds,
            layers=layers,
            saturation=True,
            test=name,
            extra_info={"batch": escaped(batch.text)},
        )
    except UsageError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise UsageError(f"{name}: measuring it raised {in_one_line(error)}") from error


def _style(diagnosis: Diagnosis) -> str:
    if not diagnosis.healthy:
        return "bold red"
    return "yellow" if diagnosis.problems else "green"


def _print(sample: FlowSample, batch: str) -> None:
    from vgharness.gradflow.diagnosis import summary
    from vgharness.report.tables import session_table

    screen = console()
    screen.print(escaped(batch), soft_wrap=True)
    screen.print(session_table(sample.record))
    verdict = escaped(summary(sample.diagnosis))
    screen.print(verdict, style=_style(sample.diagnosis), soft_wrap=True)
    for problem in sample.diagnosis.problems:
        where = escaped(f"{problem.kind} from {problem.layer}: {problem.evidence}")
        screen.print(f"{where}\n  what usually helps: {problem.advice}", soft_wrap=True)
    for note in sample.diagnosis.notes:
        screen.print(f"note: {escaped(note)}", soft_wrap=True)


def _markdown(sample: FlowSample, batch: str) -> Iterator[str]:
    from vgharness.gradflow.diagnosis import summary
    from vgharness.report.tables import as_code, markdown, session_table, without_formatting

    yield f"**{without_formatting(summary(sample.diagnosis))}**"
    yield ""
    for x in sample.diagnosis.problems:
        evidence = without_formatting(x.evidence)
        yield f"- {x.kind} from {as_code(x.layer)}: {evidence}. What usually helps: {without_formatting(x.advice)}"
    for note in sample.diagnosis.notes:
        yield f"- note: {without_formatting(note)}"
    yield from ("", without_formatting(batch), "", markdown([session_table(sample.record)]))


def _print_json(model: str, sample: FlowSample, batch: Batch) -> None:
    from vgharness.report.check_json import checked

    say_json(checked(model, sample, inputs=batch.inputs, loss=batch.loss.text))


def _try_remedies(name: str, factory: Factory, batch: Batch, seeds: int, *, as_markdown: bool) -> None:
    from vgharness.cli.remedies import print_remedies, remedies_as_markdown, tried_remedies

    trials = tried_remedies(name, factory, batch, seeds)
    if as_markdown:
        say("\n".join(remedies_as_markdown(trials)))
    else:
        print_remedies(console(), trials)


def _write_page(sample: FlowSample, page: Path) -> Path:
    from vgharness.gradflow.session import as_session
    from vgharness.report.session_page import write_session_page

    command = shlex.join(["vgharness", *sys.argv[1:]])
    session = as_session([sample.record], command=command, folder=Path.cwd(), extra={})
    return write_session_page(session, page)
