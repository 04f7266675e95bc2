"""``pytest -m full [--device cuda] [--run RUN.json]``: one test case per claim, named by its id."""

import pytest

from vgharness.claims.spec import load_claims
from vgharness.claims.verdicts import judge
from vgharness.errors import UsageError
from vgharness.records import Run, Verdict
from vgharness.storage.store import load_run
from vgharness.study.presets import plan
from vgharness.system.process import configure_process

pytestmark = pytest.mark.full


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    try:
        architectures = _architectures(metafunc.config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    cases = {
        f"{claim.id}-{architecture}" if len(architectures) > 1 else claim.id: (claim.id, architecture)
        for claim in load_claims()
        for architecture in ([claim.architecture] if claim.architecture else architectures)
    }
    metafunc.parametrize("case", cases.values(), ids=cases)


def _architectures(config: pytest.Config) -> list[str]:
    saved = config.getoption("--run")
    study = load_run(saved).study if saved else plan(_preset(config))
    return list(dict.fromkeys(cell.architecture for cell in study.cells))


def _preset(config: pytest.Config) -> str:
    if config.getoption("-m") != "full":
        return "quick"  # nothing will be trained: do not look for a device
    from vgharness.system.device import pick_device

    return "full" if pick_device(config.getoption("--device")).type == "cuda" else "quick"


@pytest.fixture(scope="session")
def verdicts(pytestconfig: pytest.Config) -> dict[tuple[str, str], Verdict]:
    saved = pytestconfig.getoption("--run")
    run = load_run(saved) if saved else _train(pytestconfig)
    return {(v.claim, v.architecture): v for v in judge(load_claims(), run)}


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
        readings = [
            f"  {r.label}: {r.value} in [{r.low}, {r.high}], expected {r.expected}: {r.outcome}"
            for r in verdict.readings
        ]
        pytest.fail("\n".join([f"“{verdict.sentence}” {verdict.outcome}. {verdict.reason}", *readings]), pytrace=False)
