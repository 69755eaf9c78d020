"""The sandbox's folder: its permissions, its format and its key."""

import stat
import threading
from pathlib import Path

import pytest

from sandbox import folder as data


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def test_key_is_private_and_stays(tmp_path: Path) -> None:
    """The key is created once, and only its owner may read it."""
    key = data.api_key(tmp_path)
    assert data.api_key(tmp_path) == key
    assert len(key) >= 32
    assert key.isascii()
    assert not set(key) & set(" \"'\\\n")
    assert mode(tmp_path / "api-key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["api-key"]


def test_key_differs_between_folders(tmp_path: Path) -> None:
    """Two folders have different keys."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert data.api_key(tmp_path / "a") != data.api_key(tmp_path / "b")


def test_key_is_the_same_for_all_threads(tmp_path: Path) -> None:
    """Threads that ask for the key at the same time get the same one."""
    together = threading.Barrier(16)
    keys: list[str] = []

    def ask() -> None:
        together.wait()
        keys.append(data.api_key(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["api-key"]


def test_user_key_is_kept(tmp_path: Path) -> None:
    """A key that the user wrote into the file is used, and the file is made private."""
    path = tmp_path / "api-key"
    path.write_text("my-own\n")
    path.chmod(0o644)
    assert data.api_key(tmp_path) == "my-own"
    assert mode(path) == 0o600


def test_empty_key_is_an_error(tmp_path: Path) -> None:
    """An empty key file is an error whose message has the solution."""
    (tmp_path / "api-key").write_text("\n")
    with pytest.raises(ValueError, match=r"is empty\. Delete it"):
        data.api_key(tmp_path)


@pytest.mark.parametrize("kind", ["empty", "missing"])
def test_new_folder_is_used_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """A new or empty folder is made private and gets a format, without output."""
    folder = tmp_path / "data"
    if kind == "empty":
        folder.mkdir(mode=0o755)
    for _ in range(2):
        with data.open_folder(folder):
            (folder / "dynamodb").mkdir(exist_ok=True)
    assert mode(folder) == 0o700
    assert data.is_current(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["dynamodb", "upstream", "logs"])
def test_old_data_is_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Data of an older version is moved to a numbered folder, which one printed line names."""
    folder = tmp_path / "data"
    for number in (1, 2):
        (folder / name).mkdir(parents=True)
        (folder / name / "lambda.json").write_text(f"{number}")
        (folder / "lock").touch()
        with data.open_folder(folder):
            assert {path.name for path in folder.iterdir()} == {"format", "lock", "tmp"}
        moved = tmp_path / f"data.before-{number}"
        assert (moved / name / "lambda.json").read_text() == f"{number}"
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1
        assert str(moved) in printed
        (folder / "format").unlink()
        (folder / "tmp").rmdir()


def test_data_of_another_format_is_moved(tmp_path: Path) -> None:
    """Data with another format is moved."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "format").write_text("1\n")
    with data.open_folder(folder):
        assert data.is_current(folder)
    assert (tmp_path / "data.before-1" / "format").read_text() == "1\n"
    assert (tmp_path / "data.before-1").stat().st_mode & 0o777 == 0o700, "older ones were open"


@pytest.mark.parametrize("ours", [[], ["dynamodb"]])
def test_foreign_folder_is_refused(tmp_path: Path, ours: list[str]) -> None:
    """A folder with foreign files is refused and not changed."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    for name in [*ours, "letters"]:
        (folder / name).mkdir()
    with pytest.raises(SystemExit, match="letters"):
        data.open_folder(folder)
    assert mode(folder) == 0o755
    assert {path.name for path in folder.iterdir()} == {*ours, "letters"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_prepare_sets_format_of_new_folder(tmp_path: Path) -> None:
    """A part that runs alone sets the format of a new folder, but not of one with older data."""
    data.prepare(tmp_path / "new")
    assert data.is_current(tmp_path / "new")
    (tmp_path / "old" / "upstream").mkdir(parents=True)
    data.prepare(tmp_path / "old")
    assert not data.is_current(tmp_path / "old")
