"""Writing files: whole or not at all, links followed, modes kept, what is no file refused before any work."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vgharness.errors import UsageError
from vgharness.system.files import check_file, check_folder, remove_litter, write_text, write_whole

pytestmark = pytest.mark.fast


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def interrupted(descriptor: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("fails", "error"), [(no_space, OSError), (interrupted, KeyboardInterrupt)])
def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: type[BaseException]
) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(error):
        write_whole(path, b"new and longer")
    assert files_under(tmp_path) == {"run.json"}
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_run_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[str], int]] = []

    def look(descriptor: int) -> None:
        seen.append((files_under(tmp_path), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", look)
    write_whole(tmp_path / "run.json", b"content")
    ((before, size),) = seen
    assert "run.json" not in before
    assert size == len(b"content")
    assert files_under(tmp_path) == {"run.json"}


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target, link, broken = tmp_path / "deep" / "page.html", tmp_path / "page.html", tmp_path / "new.html"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(Path("deep") / "page.html")
    broken.symlink_to(Path("deep") / "new.html")
    for path in (link, broken):
        check_file(path, "--html")
        write_whole(path, b"new")
        assert path.is_symlink()
        assert path.read_bytes() == b"new"
    assert files_under(tmp_path) == {"deep/page.html", "deep/new.html", "page.html", "new.html"}


@pytest.fixture
def umask() -> Any:
    def set_umask(mask: int) -> None:
        os.umask(mask)

    before = os.umask(0o022)
    yield set_umask
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(
    tmp_path: Path, umask: Callable[[int], None]
) -> None:
    for mask in (0o077, 0o022, 0o002):
        umask(mask)
        path = tmp_path / f"{mask}"
        write_whole(path, b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    umask(0o077)
    write_whole(path, b"again")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_is_closed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Windows demands. Whether a descriptor is open can be asked of the system where it lists them.
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("no list of open files here")
    replace, seen = Path.replace, []

    def look(self: Path, target: Path) -> Path:
        seen.append(str(self) in {str(x.readlink()) for x in open_files.iterdir() if x.is_symlink()})
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_whole(tmp_path / "file", b"content")
    assert seen == [False]


def test_text_that_utf8_lacks_is_written_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "page", "σ \udc80")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "σ \\udc80"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # a null device of our own
    except (PermissionError, OSError):
        pytest.skip("this user cannot make a device")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
@pytest.mark.parametrize(
    ("make", "kind"),
    [(Path.mkdir, "a folder"), (pipe, "a pipe"), (device, "a device")],
    ids=["folder", "pipe", "device"],
)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], kind: str, linked: bool
) -> None:
    path = tmp_path / "out"
    make(path)
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    before = path.stat()
    with pytest.raises(
        UsageError, match=rf"\A--html {re.escape(str(path))}: this is {kind}[^\n]*; give another file\Z"
    ):
        check_file(path, "--html")
    with pytest.raises(OSError, match=kind):
        write_whole(path, b"content")
    after = path.stat()
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)
    assert {x.name for x in tmp_path.iterdir()} == ({"out", "link"} if linked else {"out"})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/page.html", "there is no folder .*missing; make it first"),
        ("a" * 300, "name too long"),
        (f"{'a/' * 3000}b", "name too long"),
        ("file/page.html", "[Nn]ot a directory|there is no folder"),
        ("nul\0byte", "null byte"),
        ("esc\x1b[31m\n/x", r"there is no folder .*esc\\x1b\[31m\\n; make it first"),
    ],
)
def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=reason) as caught:
        check_file(tmp_path / name, "--json")
    assert str(caught.value).startswith("--json ")
    assert "\n" not in str(caught.value)
    assert files_under(tmp_path) == {"file"}


def test_a_check_leaves_everything_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    check_file(tmp_path / "old", "--html")
    check_file(tmp_path / "new", "--html")
    check_folder(tmp_path / "a" / "b", "--out", ["index.html"])
    assert files_under(tmp_path) == {"old"}
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_or_a_file_that_is_read_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o400)
    with pytest.raises(UsageError, match="Permission denied"):
        check_file(tmp_path / "file", "--html")
    tmp_path.chmod(0o500)
    for check in (lambda: check_file(tmp_path / "x", "--html"), lambda: check_folder(tmp_path, "--out")):
        with pytest.raises(UsageError, match="Permission denied"):
            check()


def test_a_folder_that_cannot_be_written_to_is_named_with_the_fix(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(UsageError, match=rf"\A--out {re.escape(str(in_the_way))}: this is no folder; give a folder\Z"):
        check_folder(in_the_way, "--out")
    deeper = in_the_way / "deeper"
    with pytest.raises(
        UsageError, match=rf"\A--out {re.escape(str(deeper))} cannot be written to \(.*\): give another folder\Z"
    ):
        check_folder(deeper, "--out")
    (tmp_path / "out" / "index.html").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"index\.html: this is a folder"):
        check_folder(tmp_path / "out", "--out", ["run.json", "index.html"])
    assert files_under(tmp_path) == {"file"}


KILLED = """
import os, signal, sys
from pathlib import Path
from vgharness.system.files import write_whole
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]), b"content")
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_what_killed_processes_leave_is_removed_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "run.json"], check=False)
    (killed,) = tmp_path.iterdir()
    own = killed.name.replace(killed.name.split("-")[1], str(os.getpid()))
    elsewhere = f".{'0' * 8}-{killed.name.split('-')[1]}-{'1' * 16}.part"
    old = f".{'0' * 8}-1-{'2' * 16}.part"
    kept = [own, elsewhere, "notes.part", ".mine.part"]
    for name in (*kept, old):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / old, (0, time.time() - 4000))
    check_folder(tmp_path, "--out")
    assert files_under(tmp_path) == set(kept)
    remove_litter(tmp_path / "nowhere")


def test_a_full_disk_is_found_by_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_space)  # an empty file would still have its place
    with pytest.raises(UsageError, match=r"cannot be written to \(No space left on device\)"):
        check_folder(tmp_path, "--out")
    assert files_under(tmp_path) == set()
