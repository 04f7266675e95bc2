"""``vgharness check MODEL``: what is wrong with a model's gradients, without a test being written."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
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
    from vgharness.check.remedy_trials import Trial
    from vgharness.gradflow.diagnosis import Diagnosis
    from vgharness.gradflow.sample import FlowSample
    from vgharness.report.tables import Sheet

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
    input_: Annotated[str | None, typer.Option("--input", help=_INPUT)] = None,
    loss: Annotated[str | None, typer.Option(help=_LOSS)] = None,
    seeds: Annotated[int, typer.Option(help="how many models are made and measured")] = 5,
    layers: Annotated[str | None, typer.Option(help="which layers: a name or a glob such as encoder.*")] = None,
    parameters: Annotated[bool, typer.Option("--parameters", help="show each parameter below its layer")] = False,
    remedies: Annotated[bool, typer.Option("--remedies", help="try on copies what may help, print its code")] = False,
    html: Annotated[Path | None, typer.Option(help="also write a page to this file")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON, for other programs")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 for a warning too")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown, for a pull-request comment")] = False,
) -> None:
    """Say whether gradients flow through a model at initialisation, and if not, from which layer on and what helps.

    Exit status: 0 healthy, 1 a problem (with --strict a warning too), 2 bad input.
    """
    with usage_errors("vgharness check"):
        if seeds < 1:
            raise UsageError(f"--seeds {seeds}: give 1 or more")
        if json and markdown:
            raise UsageError("--json and --markdown: give one of them")
        if html is not None:
            check_file(html, "--html")
        from vgharness.check.batch import choose_batch  # torch and scipy are slow to import
        from vgharness.check.model_source import load_factory

        factory = load_factory(model)
        batch = choose_batch(factory, input_)
        if loss is not None:
            batch = batch.with_loss(loss)
        sample = _measure(model, factory, batch, seeds, layers)
        if not json:
            show = _print_markdown if markdown else _print
            show(sample, batch.text, parameters)
        trials = _tried(model, factory, batch, seeds) if remedies else None
        if json:
            _print_json(model, sample, batch, trials)
        elif trials is not None:
            _print_remedies(trials, markdown)
        if html is not None:
            say(f"page written to {shown(_write_page(sample, html, parameters, trials))}", stderr=markdown or json)
    bad = sample.diagnosis.problems if strict else not sample.diagnosis.healthy
    raise typer.Exit(PROBLEMS if bad else 0)


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


def _table(sample: FlowSample, parameters: bool) -> Sheet:
    from vgharness.report.tables import session_table

    named = {problem.layer for problem in sample.diagnosis.problems}
    return session_table(sample.record, parameters=parameters, named=named)


def _print(sample: FlowSample, batch: str, parameters: bool) -> None:
    from vgharness.gradflow.diagnosis import summary

    screen = console()
    screen.print(escaped(batch), soft_wrap=True)
    screen.print(_table(sample, parameters))
    verdict = escaped(summary(sample.diagnosis))
    screen.print(verdict, style=_style(sample.diagnosis), soft_wrap=True)
    for problem in sample.diagnosis.problems:
        where = escaped(f"{problem.kind} from {problem.layer}: {problem.evidence}")
        screen.print(f"{where}\n  what usually helps: {problem.advice}", soft_wrap=True)
    for note in sample.diagnosis.notes:
        screen.print(f"note: {escaped(note)}", soft_wrap=True)


def _print_markdown(sample: FlowSample, batch: str, parameters: bool) -> None:
    from vgharness.report.tables import markdown, without_formatting

    table = _table(sample, parameters)
    say("\n".join((*_verdict(sample.diagnosis), without_formatting(batch), "", markdown([table]))))


def _verdict(diagnosis: Diagnosis) -> Iterator[str]:
    """Lines of Markdown."""
    from vgharness.gradflow.diagnosis import summary
    from vgharness.report.tables import as_code, without_formatting

    yield f"**{without_formatting(summary(diagnosis))}**"
    yield ""
    for x in diagnosis.problems:
        evidence = without_formatting(x.evidence)
        yield f"- {x.kind} from {as_code(x.layer)}: {evidence}. What usually helps: {without_formatting(x.advice)}"
    for note in diagnosis.notes:
        yield f"- note: {without_formatting(note)}"
    if diagnosis.problems or diagnosis.notes:
        yield ""


def _print_json(model: str, sample: FlowSample, batch: Batch, trials: Sequence[Trial] | None) -> None:
    from vgharness.check.remedy_records import remedies_as_records
    from vgharness.report.check_json import checked

    remedies = None if trials is None else remedies_as_records(trials)
    say_json(checked(model, sample, inputs=batch.inputs, loss=batch.loss.text, remedies=remedies))


def _tried(name: str, factory: Factory, batch: Batch, seeds: int) -> tuple[Trial, ...]:
    from vgharness.cli.remedies import tried_remedies

    return tried_remedies(name, factory, batch, seeds)


def _print_remedies(trials: Sequence[Trial], markdown: bool) -> None:
    from vgharness.cli.remedies import print_remedies, remedies_as_markdown

    if markdown:
        say("\n".join(remedies_as_markdown(trials)))
    else:
        print_remedies(console(), trials)


def _write_page(sample: FlowSample, page: Path, parameters: bool, trials: Sequence[Trial] | None) -> Path:
    from vgharness.check.remedy_records import remedies_as_records
    from vgharness.gradflow.session import as_session
    from vgharness.report.session_page import write_session_page

    command = shlex.join(["vgharness", *sys.argv[1:]])
    session = as_session([sample.record], command=command, folder=Path.cwd(), extra={})
    return write_session_page(session, page, parameters=parameters, remedies=remedies_as_records(trials or ()))
