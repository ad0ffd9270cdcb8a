from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from satseg.checkpoint import ModelCard
from satseg.classes import ClassTable
from satseg.errors import OutputError, TrainingError
from satseg.records import BandSpec, BandStatistics
from satseg.runs import Run, claim_output, newest_begun, newest_finished, newest_run, next_output

SETTINGS = {"arch": "erfnet", "lr": 0.003, "budget": {"steps": 10}}
WEIGHTS = {"weight": torch.zeros(2)}


def card(step: int) -> ModelCard:
    return ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(["background", "roof"]),
        bands=BandSpec(("grey",), "uint8", (1.0,), (0.0,)),
        statistics=BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,)),
        gsd=None,
        tile_size=64,
        training={"steps": step},
    )


def save(run: Run, step: int) -> None:
    run.save_last(WEIGHTS, card(step), step=step, tensors={"m": torch.tensor(float(step))}, values={"step": step})


def test_a_run_begins_with_its_settings_and_ends_with_its_record(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "a" / "b", SETTINGS)
    assert (run.started, run.finished, run.resumable) == (True, False, False)
    save(run, 5)
    assert run.resumable
    run.finish({"steps": 5})
    assert run.finished
    assert run.read_record() == {"steps": 5}
    assert sorted(path.name for path in run.path.iterdir()) == [
        "last.safetensors",
        "run.json",
        "settings.json",
        "state-5.safetensors",
    ]


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_is_never_overwritten(tmp_path: Path, finished: bool) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    if finished:
        run.finish({})
    with pytest.raises(OutputError, match="already contains"):
        Run.start(tmp_path / "r", SETTINGS)


def test_a_run_whose_end_is_moved_is_unfinished_and_tells_where_it_ended_before(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    run.finish({})
    run.extend({"budget": {"steps": 20}}, step=10)
    assert not run.finished
    extended = {"extended": [{"step": 10, "budget": {"steps": 10}}]}
    assert run.read_settings() == {**SETTINGS, "budget": {"steps": 20}, **extended}
    run.extend({"budget": {"steps": 30}}, step=15)
    assert [entry["step"] for entry in run.read_settings()["extended"]] == [10, 15]


def test_a_run_whose_new_end_cannot_be_written_stays_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    run.finish({})

    def full(path: Path, text: str, **options: str) -> int:
        if "budget" in text:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **options)

    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        run.extend({"budget": {"steps": 20}}, step=10)
    assert run.finished
    assert run.read_settings() == SETTINGS


def test_a_run_whose_state_was_deleted_says_how_its_weights_can_be_used(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    save(run, 5)
    (run.path / "state-5.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"state-5\.safetensors is missing") as caught:
        run.load_last()
    assert f"`init_from={str(run.path)!r}`" in str(caught.value.hint)


def test_the_state_that_belongs_to_the_last_checkpoint_comes_back(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    save(run, 5)
    save(run, 8)
    checkpoint, tensors, values = run.load_last()
    assert (checkpoint.card.training["steps"], tensors["m"].item(), values) == (8, 8, {"step": 8})
    assert [path.name for path in run.path.glob("state-*")] == ["state-8.safetensors"]


def test_a_kill_between_state_and_checkpoint_leaves_the_earlier_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.start(tmp_path / "r", SETTINGS)
    save(run, 5)
    monkeypatch.setattr("satseg.runs.folder.save_checkpoint", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(run, 8)
    _, tensors, values = run.load_last()
    assert (tensors["m"].item(), values) == (5, {"step": 5})


def test_runs_are_numbered_by_network(tmp_path: Path) -> None:
    assert next_output("erfnet", tmp_path / "runs") == tmp_path / "runs" / "erfnet-1"
    for name in ("erfnet-2", "erfnet-10", "erfnet-old", "unet-30"):
        (tmp_path / name).mkdir()
    assert next_output("erfnet", tmp_path) == tmp_path / "erfnet-11"


def test_the_newest_run_is_the_one_that_was_worked_on_last(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for second, name in enumerate(("c", "b", "a", "d")):
        run = Run.start(tmp_path / name, SETTINGS)
        if name == "a":
            run.finish({})
            os.utime(run.record, (second, second))
        os.utime(run.settings, (second, second))
    (tmp_path / "d" / "settings.json").write_text("{")
    os.utime(tmp_path / "d" / "settings.json", (9, 9))
    os.utime(tmp_path / "c" / "settings.json", (0, 0))
    save(Run(tmp_path / "c"), 1)
    os.utime(tmp_path / "c" / "last.safetensors", (5, 5))

    def path_of(run: Run | None) -> str:
        assert run is not None
        return run.path.name

    readable = {"which": lambda run: bool(run.read_settings())}
    assert path_of(newest_run(tmp_path)) == "d"
    assert path_of(newest_run(tmp_path, **readable)) == "c"
    os.utime(tmp_path / "a" / "run.json", (7, 7))
    assert path_of(newest_run(tmp_path, **readable)) == "a"
    assert path_of(newest_run(tmp_path, unfinished=True, **readable)) == "c"


def test_the_newest_finished_run_is_the_one_whose_record_is_latest(tmp_path: Path) -> None:
    assert newest_finished(tmp_path) is None
    for second, name in enumerate(("b", "a", "unfinished")):
        run = Run.start(tmp_path / name, SETTINGS)
        run.save_best(WEIGHTS, card(1))
        if name != "unfinished":
            run.finish({})
            os.utime(run.record, (second, second))
    newest = newest_finished(tmp_path)
    assert newest is not None
    assert newest.path.name == "a"


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        locked = list(pool.map(lambda _: claim_output("erfnet", tmp_path / "runs"), range(16)))
    assert {path.name for path in locked} == {f"erfnet-{number}" for number in range(1, 17)}
    assert all(path.is_dir() for path in locked)


def test_a_file_where_the_runs_should_go_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(OutputError, match="runs"):
        claim_output("erfnet", tmp_path / "runs")


def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / ".DS_Store").touch()
    Run(folder).check_vacant()
    (folder / "thesis.docx").touch()
    with pytest.raises(OutputError, match=r"is not empty: it contains thesis\.docx"):
        Run.start(folder, SETTINGS)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        Run.start(tmp_path / "file", SETTINGS)
    assert sorted(path.name for path in folder.iterdir()) == [".DS_Store", "thesis.docx"]


def test_the_newest_run_that_has_begun_need_not_be_finished(tmp_path: Path) -> None:
    assert newest_begun(tmp_path) is None
    for seconds, name in ((2, "a-1"), (1, "b-1")):
        run = Run.start(tmp_path / name, SETTINGS)
        run.save_best(WEIGHTS, card(1))
        os.utime(run.best, (seconds, seconds))
    newest = newest_begun(tmp_path)
    assert newest is not None
    assert (newest.path, newest.finished) == (tmp_path / "a-1", False)
