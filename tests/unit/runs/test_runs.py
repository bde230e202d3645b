"""A run folder appears whole, is found by its id, and tells the truth about its process."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imtoolkit.core.errors import RunError
from imtoolkit.runs import Run, State, create_run, delete_run, find_run, list_runs
from imtoolkit.runs.compare import best_of
from imtoolkit.runs.layout import best_name
from imtoolkit.runs.provenance import git_state, provenance
from imtoolkit.runs.status import SILENT_SECONDS, heartbeat, read_status, set_state, write_status


def fill(folder: Path) -> None:
    (folder / "config.yaml").write_text("name: nuclei\n")


def make(root: Path, name: str = "nuclei") -> Run:
    return create_run(name, root, fill)


def test_a_new_run_holds_its_config_and_belongs_to_this_process(tmp_path):
    run = make(tmp_path)
    assert run.path.parent == tmp_path / "nuclei"
    assert (run.path / "config.yaml").read_text() == "name: nuclei\n"
    assert run.status.state is State.RUNNING
    assert run.status.pid == os.getpid()
    assert [entry.name for entry in run.path.parent.iterdir()] == [run.id]


def test_a_folder_that_holds_something_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(RunError, match="exists already"):
        create_run("x", tmp_path, fill, path=tmp_path / "mine")
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_empty_folder_may_become_a_run(tmp_path):
    (tmp_path / "empty").mkdir()
    assert create_run("x", tmp_path, fill, path=tmp_path / "empty").id == "empty"


def test_a_name_cannot_leave_the_folder_of_runs(tmp_path):
    run = make(tmp_path / "runs", "../../outside")
    assert run.path.is_relative_to(tmp_path / "runs")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot make the run folder"):
            make(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_runs_are_found_by_path_prefix_end_and_latest(tmp_path):
    first = make(tmp_path)
    time.sleep(0.01)
    second = make(tmp_path, "other")
    for word in (str(second.path), second.id, second.id[-6:], "latest", f"other/{second.id}"):
        assert find_run(word, tmp_path) == second
    assert find_run(first, tmp_path) is first
    assert list_runs(tmp_path) == [first, second]


def test_an_unknown_run_names_the_nearest_and_an_ambiguous_one_all(tmp_path):
    run = make(tmp_path)
    wrong = run.id[:-1] + ("0" if run.id[-1] != "0" else "1")
    with pytest.raises(RunError, match=f"Did you mean '{run.id}'"):
        find_run(wrong, tmp_path)
    make(tmp_path)
    with pytest.raises(RunError, match="fits 2 runs"):
        find_run(run.id[:4], tmp_path)
    with pytest.raises(RunError, match="there are no runs"):
        find_run("latest", tmp_path / "nowhere")


def test_the_name_of_runs_is_answered_with_their_ids(tmp_path):
    first = make(tmp_path, "nuclei")
    time.sleep(0.01)
    second = make(tmp_path, "nuclei")
    with pytest.raises(RunError, match=rf"the name of 2 run.s..*'{second.id}', '{first.id}'"):
        find_run("nuclei", tmp_path)


def test_a_folder_that_is_no_run_says_so(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(RunError, match="not a run folder"):
        find_run(tmp_path / "pictures", tmp_path)


def test_a_run_whose_process_was_killed_reads_as_interrupted(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from imtoolkit.runs import create_run\n"
        "fill = lambda folder: (folder / 'config.yaml').touch()\n"
        "run = create_run('n', Path(sys.argv[1]), fill)\n"
        "print(run.path, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        path = Path(process.stdout.readline().strip())
        assert read_status(path).state is State.RUNNING
        process.kill()
        process.wait()
    status = read_status(path)
    assert status.state is State.INTERRUPTED
    assert "gone" in status.reason
    assert json.loads((path / "status.json").read_text())["state"] == "running"


def test_a_silent_run_on_another_machine_reads_as_interrupted(tmp_path):
    run = make(tmp_path)
    from dataclasses import replace

    write_status(run.path, replace(run.status, host="far-away"))
    assert run.status.state is State.RUNNING
    old = time.time() - SILENT_SECONDS - 1
    os.utime(run.path / "status.json", (old, old))
    assert run.status.state is State.INTERRUPTED


def test_the_heartbeat_renews_the_time(tmp_path, monkeypatch):
    run = make(tmp_path)
    monkeypatch.setattr("imtoolkit.runs.status.BEAT_SECONDS", 0.01)
    os.utime(run.path / "status.json", (0, 0))
    with heartbeat(run.path):
        deadline = time.time() + 10
        while (run.path / "status.json").stat().st_mtime < 1 and time.time() < deadline:
            time.sleep(0.01)
    assert (run.path / "status.json").stat().st_mtime > 1


def test_a_torn_status_reads_as_unknown(tmp_path):
    run = make(tmp_path)
    (run.path / "status.json").write_text('{"state": "runn')
    assert run.status.state is State.UNKNOWN


def test_a_running_run_is_not_deleted_and_a_finished_one_is(tmp_path):
    run = make(tmp_path)
    with pytest.raises(RunError, match="is running"):
        delete_run(run)
    set_state(run.path, State.FINISHED)
    delete_run(run)
    assert not run.path.exists()
    assert list_runs(tmp_path) == []


def test_metrics_are_read_and_a_missing_checkpoint_lists_what_there_is(tmp_path):
    run = make(tmp_path)
    assert run.metrics.empty
    (run.path / "metrics.csv").write_text("epoch,step,val/dice\n0,9,0.5\n1,19,0.75\n")
    assert list(run.metrics["val/dice"]) == [0.5, 0.75]
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "last.ckpt").write_bytes(b"x")
    assert run.checkpoint("last").name == "last.ckpt"
    with pytest.raises(RunError, match="no checkpoint 'best'"):
        run.checkpoint("best")


def test_a_run_shows_its_metrics_evaluation_and_picture(tmp_path):
    run = make(tmp_path)
    (run.path / "metrics.csv").write_text("epoch,step,val/dice\n0,9,0.5\n1,19,0.75\n")
    (run.path / "pictures").mkdir()
    (run.path / "pictures" / "epoch-0001.png").write_bytes(b"png")
    (run.path / "evaluation" / "test").mkdir(parents=True)
    (run.path / "evaluation" / "test" / "summary.json").write_text(
        json.dumps(
            {
                "images": 3,
                "confidence": 0.95,
                "metrics": {"dice": {"mean": 0.7, "low": 0.6, "high": 0.8}},
            }
        )
    )
    page = run._repr_html_()
    assert "<td>val/dice</td><td>0.7500</td><td>0.5000</td><td>0.7500</td>" in page
    assert "test, 3 images" in page
    assert "data:image/png;base64,cG5n" in page


def test_a_moved_run_still_works_and_holds_no_path_to_itself(tmp_path):
    run = make(tmp_path / "old")
    set_state(run.path, State.FINISHED)
    (tmp_path / "new").mkdir()
    run.path.rename(tmp_path / "new" / run.id)
    moved = find_run("latest", tmp_path / "new")
    assert moved.name == "nuclei"
    assert str(tmp_path) not in (moved.path / "status.json").read_text()


def test_provenance_names_packages_and_the_state_of_the_repository(tmp_path):
    told = provenance(device="cpu")
    assert told["device"] == "cpu"
    assert "torch" in told["packages"]
    assert git_state(tmp_path) is None or "commit" in git_state(tmp_path)


def test_provenance_tells_a_changed_repository_from_a_clean_one(tmp_path):
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-m", "one")
    assert git_state(tmp_path)["changed"] == []
    (tmp_path / "code.py").write_text("a = 2\n")
    state = git_state(tmp_path)
    assert state["changed"] == [" M code.py"]
    assert len(state["diff_sha256"]) == 64


@pytest.mark.parametrize(
    ("columns", "chosen_by", "best"),
    [
        ("val/ap,val/ap/50", "val/ap/50", 0.9),
        ("val/cycle_mae,val/ged", "val/ged", 0.3),
        ("val/psnr,val/loss", "val/loss", 0.3),
        ("val/cycle_psnr,val/cycle_mae", "val/cycle_mae", 0.3),
    ],
)
def test_a_run_is_listed_by_the_metric_that_chose_its_best_state(
    tmp_path, columns, chosen_by, best
):
    run = make(tmp_path)
    (run.path / "metrics.csv").write_text(f"epoch,step,{columns}\n0,9,0.1,0.9\n1,19,0.2,0.3\n")
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / best_name(chosen_by)).touch()
    assert best_of(run) == (chosen_by, best)
