"""``pytest -m full [--device cuda] [--claims FILE] [--run RUN …]``: one test case per claim, named by its id."""

import pytest

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.trainings import Training
from vgharness.errors import UsageError
from vgharness.records import Run, Session, Verdict
from vgharness.report.verdict_table import in_lines
from vgharness.storage.store import RunStore, load
from vgharness.study.judging import evidence_at, judge
from vgharness.study.presets import plan
from vgharness.system.process import configure_process

pytestmark = pytest.mark.full


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    try:
        claims, evidence = load_claims(config.getoption("--claims")), _evidence(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    several = any(len(evidence.variants(claim)) > 1 for claim in claims)
    cases = {
        f"{claim.id}-{variant}" if variant and several else claim.id: (claim.id, variant)
        for claim in claims
        for variant in evidence.variants(claim)
    }
    metafunc.parametrize("case", cases.values(), ids=cases)


def _saved(config: pytest.Config) -> list[Run | Session | Training]:
    paths = [RunStore().find(which, kind=None).path for which in config.getoption("--run")]
    return [evidence_at(path, load(path)) for path in paths]


def _evidence(config: pytest.Config) -> Evidence:
    """What will be judged on: of networks that are yet to be trained no more than which they are."""
    saved = _saved(config)
    if saved:
        return Evidence.of(*saved)
    return Evidence(cells=tuple((cell, None) for cell in plan(_preset(config)).cells))


def _preset(config: pytest.Config) -> str:
    if config.getoption("-m") != "full":
        return "quick"  # nothing will be trained: do not look for a device
    from vgharness.system.device import pick_device

    return "full" if pick_device(config.getoption("--device")).type == "cuda" else "quick"


@pytest.fixture(scope="session")
def verdicts(pytestconfig: pytest.Config) -> dict[tuple[str, str], Verdict]:
    runs = _saved(pytestconfig) or [_train(pytestconfig)]
    return {(v.claim, v.variant): v for v in judge(pytestconfig.getoption("--claims"), *runs)}


def _train(config: pytest.Config) -> Run:
    configure_process()
    from vgharness.data.images import load_images
    from vgharness.study.presets import PRESETS
    from vgharness.study.run import run_study
    from vgharness.system.device import pick_device

    study = plan(_preset(config))
    source = PRESETS[study.preset].source
    images = load_images(source, train_images=study.train_images, test_images=study.test_images)
    return run_study(study, images, device=pick_device(config.getoption("--device")))


def test_claim(case: tuple[str, str], verdicts: dict[tuple[str, str], Verdict]) -> None:
    verdict = verdicts[case]
    if verdict.outcome == "not run":
        pytest.skip(verdict.reason)
    if verdict.outcome != "reproduced":
        pytest.fail(in_lines(verdict), pytrace=False)
