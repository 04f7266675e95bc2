"""``vgharness check MODEL``: what is wrong with a model's gradients, without a test being written."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError

if TYPE_CHECKING:
    from vgharness.check.batch import Batch
    from vgharness.check.model_source import Factory
    from vgharness.gradflow.diagnosis import Diagnosis
    from vgharness.records.session import Sample

ILL = 1


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="package.module:Factory, path/file.py:Factory, torchvision:NAME, timm:NAME or hf:NAME (random weights)"
        ),
    ],
    input_: Annotated[
        str | None,
        typer.Option("--input", help="a shape such as 8,3,32,32, or MODULE:CALLABLE that makes one of a seed"),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy, mse, mean_square or MODULE:CALLABLE")] = None,
    seeds: Annotated[int, typer.Option(help="how many models are made and measured")] = 5,
    layers: Annotated[str | None, typer.Option(help="which layers: a name or a glob such as encoder.*")] = None,
    html: Annotated[Path | None, typer.Option(help="also write a page to this file")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print markdown, fit for a pull-request comment")
    ] = False,
) -> None:
    """Say whether gradients flow through a model at initialisation, and if not, from which layer on and what helps.

    Exit status: 0 healthy, 1 not, 2 bad input.
    """
    with usage_errors("vgharness check"):
        if seeds < 1:
            raise UsageError(f"--seeds {seeds}: give 1 or more")
        from vgharness.check.batch import choose_batch
        from vgharness.check.model_source import load_factory
        from vgharness.gradflow.diagnosis import diagnose  # torch and scipy are slow to import

        factory = load_factory(model)
        batch = choose_batch(factory, input_)
        if loss is not None:
            batch = batch.with_loss(loss)
        sample = _measure(model, factory, batch, seeds, layers)
        diagnosis = diagnose(sample.flows)
        if markdown:
            typer.echo(_markdown(sample, diagnosis, batch.text))
        else:
            _print(Console(highlight=False), sample, diagnosis, batch.text)
        if html is not None:
            from vgharness.gradflow.measurement import as_session
            from vgharness.report.session_page import write_session_page

            command = shlex.join(["vgharness", *sys.argv[1:]])
            session = as_session([sample], command=command, folder=Path.cwd(), extra={})
            typer.echo(f"page written to {write_session_page(session, html)}", err=markdown)
    raise typer.Exit(0 if diagnosis.healthy else ILL)


def _measure(name: str, factory: Factory, batch: Batch, seeds: int, layers: str | None) -> Sample:
    from vgharness.check.model_source import one_line
    from vgharness.gradflow.measurement import measure

    try:
        found = measure(
            factory,
            batch,
            batch.loss.function,
            seeds=seeds,
            layers=layers,
            saturation=True,
            test=name,
            extra_info={"batch": batch.text},
        )
    except UsageError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise UsageError(f"{name}: measuring it raised {one_line(error)}") from error
    return found.sample


def _print(console: Console, sample: Sample, diagnosis: Diagnosis, batch: str) -> None:
    from vgharness.gradflow.diagnosis import summary
    from vgharness.report.tables import session_table

    console.print(batch, soft_wrap=True)
    console.print(session_table(sample))
    console.print(summary(diagnosis), style="green" if diagnosis.healthy else "bold red", soft_wrap=True)
    for finding in diagnosis.findings:
        console.print(f"{finding.illness} from {finding.layer}: {finding.evidence}", soft_wrap=True)
        console.print(f"  what usually helps: {finding.advice}", soft_wrap=True)


def _markdown(sample: Sample, diagnosis: Diagnosis, batch: str) -> str:
    from vgharness.gradflow.diagnosis import summary
    from vgharness.report.tables import markdown, session_table

    lines = [f"**{summary(diagnosis)}**", ""]
    lines += [
        f"- {x.illness} from `{x.layer}`: {x.evidence}. What usually helps: {x.advice}" for x in diagnosis.findings
    ]
    return "\n".join([*lines, "", batch, "", markdown([session_table(sample)])])
