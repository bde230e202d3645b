"""`metrics.csv` keeps every value over interruptions, crashes and new columns."""

from imtoolkit.callbacks.metrics_csv import MetricsCsv


def test_values_of_one_step_share_a_row(tmp_path):
    table = MetricsCsv(tmp_path / "metrics.csv")
    table.log_metrics({"epoch": 0, "loss": 0.5}, step=3)
    table.log_metrics({"dice": 0.25}, step=3)
    table.log_metrics({"epoch": 1, "loss": 0.125}, step=7)
    assert table.path.read_text() == "epoch,step,dice,loss\n0,3,0.25,0.5\n1,7,,0.125\n"


def test_a_value_that_is_logged_again_replaces_the_first(tmp_path):
    table = MetricsCsv(tmp_path / "metrics.csv")
    table.log_metrics({"epoch": 0, "loss": 0.123456789}, step=3)
    table.log_metrics({"epoch": 0, "loss": 0.5}, step=3)
    assert table.path.read_text() == "epoch,step,loss\n0,3,0.5\n"


def test_a_new_logger_continues_the_file(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsCsv(path).log_metrics({"epoch": 0, "loss": 0.5}, step=0)
    again = MetricsCsv(path)
    again.log_metrics({"epoch": 0, "dice": 1.0}, step=0)
    again.log_metrics({"epoch": 0, "loss": 0.25}, step=1)
    assert path.read_text() == "epoch,step,dice,loss\n0,0,1.0,0.5\n0,1,,0.25\n"


def test_a_line_torn_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,loss\n0,0,0.5\n0,1,0.2")
    MetricsCsv(path).log_metrics({"epoch": 0, "loss": 0.25}, step=1)
    assert path.read_text() == "epoch,step,loss\n0,0,0.5\n0,1,0.25\n"


def test_rows_after_the_checkpoint_are_cut(tmp_path):
    path = tmp_path / "metrics.csv"
    table = MetricsCsv(path)
    for step in range(5):
        table.log_metrics({"epoch": 0, "loss": float(step)}, step=step)
    again = MetricsCsv(path)
    again.cut(last_step=2)
    assert path.read_text() == "epoch,step,loss\n0,0,0.0\n0,1,1.0\n0,2,2.0\n"
    again.log_metrics({"epoch": 0, "loss": 9.0}, step=3)
    assert path.read_text().endswith("0,2,2.0\n0,3,9.0\n")


def test_cutting_everything_leaves_a_file_that_can_be_continued(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsCsv(path).log_metrics({"epoch": 0, "loss": 0.5}, step=4)
    table = MetricsCsv(path)
    table.cut(last_step=0)
    table.log_metrics({"epoch": 0, "loss": 0.25}, step=0)
    assert path.read_text() == "epoch,step,loss\n0,0,0.25\n"


def test_numbers_survive_exactly_and_nan_stays_nan(tmp_path):
    import pandas as pd

    path = tmp_path / "metrics.csv"
    value = 0.1 + 0.2
    MetricsCsv(path).log_metrics({"epoch": 0, "a": value, "b": float("nan")}, step=0)
    frame = pd.read_csv(path, float_precision="round_trip")
    assert frame["a"][0] == value
    assert frame["b"].isna()[0]
