"""Splits: properties that hold for any data, and what a user is told when they cannot."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imtoolkit.config.sections import SplitConfig
from imtoolkit.core.errors import DataError
from imtoolkit.data.manifest import Manifest
from imtoolkit.data.partition import deal, draw, drawing_order, shares
from imtoolkit.data.splits import apply_splits, draw_splits, write_splits


def manifest_of(count: int, **columns: Any) -> Manifest:
    names = [f"s{at:04d}" for at in range(count)]
    fixed = {"id": names, "image": [f"/data/{name}.tif" for name in names]}
    return Manifest.from_columns({"dataset": ["set"] * count, **fixed, **columns})


def members(manifest: Manifest, column: str = "id") -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = defaultdict(set)
    for row in manifest.rows():
        found[row["split"]].add(row[column])
    return found


def random_groups(rng: np.random.Generator, count: int) -> list[str]:
    """Draw groups of very different sizes."""
    sizes = rng.geometric(rng.uniform(0.05, 0.9), size=count)
    names = np.repeat(np.arange(count), sizes)[:count]
    return [f"g{name}" for name in rng.permutation(names)]


@pytest.mark.parametrize("seed", range(30))
def test_fractions_of_single_samples_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(10, 400))
    val, test = rng.uniform(0.02, 0.45, size=2)
    drawn = draw_splits(manifest_of(count), SplitConfig(val=val, test=test), seed)
    assert drawn.counts()["val"] == max(1, int(val * count + 0.5))
    assert drawn.counts()["test"] == max(1, int(test * count + 0.5))
    assert sum(drawn.counts().values()) == count


@pytest.mark.parametrize("seed", range(40))
def test_groups_never_part_and_sizes_are_right_within_one_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(30, 300))
    groups = random_groups(rng, count)
    sizes = Counter(groups)
    if len(sizes) < 6 or max(sizes.values()) > count / 3:
        groups = [f"g{at % 8}" for at in range(count)]
        sizes = Counter(groups)
    config = SplitConfig(val=0.2, test=float(rng.choice([0.0, 0.1, 0.25])), group_by="who")
    drawn = draw_splits(manifest_of(count, who=groups), config, seed)
    found = members(drawn, "who")
    names = sorted(found)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            assert not found[one] & found[other]
    for name, fraction in (("val", config.val), ("test", config.test)):
        if fraction:
            assert abs(drawn.counts()[name] - fraction * count) <= max(sizes.values())
    assert drawn.column("group") == groups


@pytest.mark.parametrize("seed", range(20))
def test_strata_are_equally_frequent_within_one_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(40, 300))
    kind = rng.choice(["a", "b", "c"], size=count, p=[0.7, 0.2, 0.1]).tolist()
    config = SplitConfig(val=0.2, test=0.2, stratify_by="kind")
    drawn = draw_splits(manifest_of(count, kind=kind), config, seed)
    total = Counter(kind)
    for split in ("val", "test"):
        part = Counter(drawn.select(split).column("kind"))
        for name, frequency in total.items():
            assert abs(part[name] - 0.2 * frequency) <= 1.5


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole_when_strata_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"g{at // 5}" for at in range(300)]
    ill = {f"g{at}": "ill" if at < 18 else "well" for at in range(60)}
    order = rng.permutation(300)
    columns = {"who": [groups[at] for at in order], "state": [ill[groups[at]] for at in order]}
    config = SplitConfig(val=0.2, test=0.1, group_by="who", stratify_by="state")
    drawn = draw_splits(manifest_of(300, **columns), config, seed)
    found = members(drawn, "who")
    assert not found["val"] & found["train"]
    assert not found["test"] & (found["val"] | found["train"])
    for split, count in (("val", 60), ("test", 30)):
        part = drawn.select(split)
        assert abs(len(part) - count) <= 5
        assert abs(part.column("state").count("ill") - 0.3 * count) <= 5


@pytest.mark.parametrize("seed", range(20))
def test_folds_partition_the_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, folds = int(rng.integers(20, 200)), int(rng.integers(2, 8))
    columns: dict[str, Any] = {"kind": rng.choice(["a", "b"], size=count).tolist()}
    columns["who"] = [f"g{at % 12}" for at in range(count)]
    options: dict[str, Any] = {"folds": folds, "test": 0.1}
    if seed % 2:
        options["group_by"] = "who"
    if seed % 4 > 1:
        options["stratify_by"] = "kind"
    manifest = manifest_of(count, **columns)
    parts = [draw_splits(manifest, SplitConfig(**options, fold=at), seed) for at in range(folds)]
    tests = {frozenset(members(part)["test"]) for part in parts}
    assert len(tests) == 1
    seen: Counter[str] = Counter()
    for part in parts:
        seen.update(members(part)["val"])
        if seed % 2:
            assert not members(part, "who")["val"] & members(part, "who")["train"]
    assert set(seen.values()) == {1}
    assert set(seen) == set(manifest.column("id")) - set(next(iter(tests)))
    sizes = [part.counts()["val"] for part in parts]
    largest = max(Counter(columns["who"]).values()) if seed % 2 else 1
    assert max(sizes) - min(sizes) <= largest


def test_folds_keep_strata_balanced() -> None:
    kind = ["rare" if at < 25 else "often" for at in range(200)]
    config = [SplitConfig(folds=5, fold=at, stratify_by="kind") for at in range(5)]
    for fold in config:
        part = draw_splits(manifest_of(200, kind=kind), fold, 3).select("val")
        assert Counter(part.column("kind")) == {"rare": 5, "often": 35}


def test_naive_is_a_set_of_unseen_groups() -> None:
    manifest = manifest_of(100, who=[f"g{at % 10}" for at in range(100)])
    config = SplitConfig(val=0.2, test=0.1, naive=2, group_by="who")
    drawn = draw_splits(manifest, config, 0)
    found = members(drawn, "who")
    assert len(found["naive"]) == 2
    assert not found["naive"] & (found["train"] | found["val"] | found["test"])
    with pytest.raises(DataError, match=r"split.group_by"):
        draw_splits(manifest, SplitConfig(naive=2), 0)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    manifest = manifest_of(60, who=[f"g{at % 9}" for at in range(60)])
    shuffled = manifest.take(np.random.default_rng(1).permutation(60))
    for config in (SplitConfig(test=0.1), SplitConfig(group_by="who"), SplitConfig(folds=3)):
        assert members(draw_splits(manifest, config, 5)) == members(
            draw_splits(shuffled, config, 5)
        )
        assert members(draw_splits(manifest, config, 5)) != members(
            draw_splits(manifest, config, 6)
        )


def test_the_draw_is_the_same_on_every_machine() -> None:
    # fixed values: a change here would give every user another test set after an update
    names = drawing_order([f"s{at}" for at in range(8)], seed=0).tolist()
    assert names == [0, 4, 7, 2, 1, 5, 6, 3]
    assert members(draw_splits(manifest_of(10), SplitConfig(val=2), 0))["val"] == {"s0007", "s0006"}


def test_the_seed_of_the_section_wins() -> None:
    manifest = manifest_of(40)
    ours = draw_splits(manifest, SplitConfig(seed=3), 8)
    assert members(ours) == members(draw_splits(manifest, SplitConfig(), 3))


def test_a_larger_validation_set_leaves_the_test_set_alone() -> None:
    manifest = manifest_of(50)
    small = draw_splits(manifest, SplitConfig(val=0.1, test=0.2), 0)
    large = draw_splits(manifest, SplitConfig(val=0.4, test=0.2), 0)
    assert members(small)["test"] == members(large)["test"]


def test_validation_is_drawn_from_the_training_images_of_a_source_without_it() -> None:
    manifest = manifest_of(20, split=["train"] * 15 + ["test"] * 5)
    drawn = draw_splits(manifest, SplitConfig(val=0.2, test=0.5), 0)
    assert drawn.counts() == {"train": 12, "val": 3, "test": 5}
    given = manifest_of(20, split=["train"] * 15 + ["val"] * 5)
    assert draw_splits(given, SplitConfig(val=0.2), 0).counts() == {"train": 15, "val": 5}
    assert draw_splits(given, SplitConfig(folds=4), 0).counts() == {"train": 15, "val": 5}
    folds = [draw_splits(given, SplitConfig(folds=4, fold=at), 0) for at in range(4)]
    assert set.union(*(members(part)["val"] for part in folds)) == set(given.column("id"))


def test_nothing_is_drawn_from_a_source_with_a_role() -> None:
    names = ["a"] * 10 + ["b"] * 10
    manifest = manifest_of(20).with_column("dataset", np.array(names))
    manifest = manifest.with_column("split", ["train"] * 10 + [None] * 10)
    drawn = draw_splits(manifest, SplitConfig(val=0.2), 0, fixed=["a"])
    assert set(drawn.column("split")[:10]) == {"train"}
    assert Counter(drawn.column("split")[10:]) == {"train": 8, "val": 2}


def test_a_group_follows_its_members_in_a_source_with_a_role() -> None:
    manifest = manifest_of(20, who=["p1", "p2"] * 5 + ["p1", "p3", "p4", "p5", "p6"] * 2)
    manifest = manifest.with_column("dataset", np.array(["a"] * 10 + ["b"] * 10))
    manifest = manifest.with_column("split", ["test"] * 10 + [None] * 10)
    drawn = draw_splits(manifest, SplitConfig(val=0.3, group_by="who"), 0, fixed=["a"])
    found = members(drawn, "who")
    assert found["test"] == {"p1", "p2"}
    assert found["train"] | found["val"] == {"p3", "p4", "p5", "p6"}


def test_a_group_that_roles_tear_apart_is_refused() -> None:
    manifest = manifest_of(
        4, group=["p1", "p2", "p1", "p3"], split=["train", "train", "test", "val"]
    )
    with pytest.raises(DataError, match="'p1' is in train and test"):
        draw_splits(manifest, SplitConfig(), 0)


def test_the_folder_of_an_image_is_a_group() -> None:
    ids = [f"s{at}" for at in range(20)]
    images = [f"/data/patient{at % 5}/{name}.tif" for at, name in enumerate(ids)]
    manifest = Manifest.from_columns({"id": ids, "image": images, "dataset": ["a"] * 20})
    drawn = draw_splits(manifest, SplitConfig(val=0.2, group_by="parent"), 0)
    assert set(drawn.column("group")) == {f"patient{at}" for at in range(5)}
    assert len(members(drawn, "group")["val"]) == 1


def test_both_domains_of_unpaired_sets_are_in_every_split() -> None:
    manifest = manifest_of(30, domain=["A"] * 20 + ["B"] * 10)
    drawn = draw_splits(manifest, SplitConfig(val=0.1, test=0.1), 0)
    for split in ("val", "test"):
        assert Counter(drawn.select(split).column("domain")) == {"A": 2, "B": 1}


def test_measured_numbers_stratify_by_their_quantiles() -> None:
    age = np.random.default_rng(0).uniform(20, 80, 200)
    drawn = draw_splits(manifest_of(200, age=age), SplitConfig(val=0.25, stratify_by="age"), 0)
    part = np.array(drawn.select("val").column("age"))
    inside, _ = np.histogram(part, np.quantile(age, np.linspace(0, 1, 6)))
    assert inside.tolist() == [10] * 5


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (1, {}, r"\(val: 0.2\) leaves nothing for training: there are 1 samples"),
        (2, {"test": 0.2}, "leaves nothing for training"),
        (5, {"val": 9}, "asks for 9 samples, but there are 5"),
        (5, {"val": 5}, "leaves nothing for training"),
        (5, {"val": 1.5}, "data.split.val: got 1.5, expected a fraction"),
        (5, {"test": -1}, "data.split.test: got -1"),
        (5, {"folds": 1}, "data.split.folds: got 1"),
        (5, {"folds": 3, "fold": 3}, "expected 0 to 2 for 3 folds"),
        (5, {"folds": 9}, "9 folds need as many samples, but there are 5"),
        (5, {"group_by": "whoo"}, "no column 'whoo'. Did you mean 'who'"),
        (5, {"group_by": "who", "folds": 2}, "2 folds need as many groups, but there are 1"),
        (5, {"group_by": "who"}, "there are 5 samples in 1 groups"),
        (5, {"group_by": "empty"}, "source 'set' has no values in column 'empty'"),
        (9, {"stratify_by": "id"}, "9 different values in 9 samples"),
        (5, {"file": "none.csv"}, "does not exist"),
    ],
)
def test_what_cannot_be_split_is_told(count: int, options: dict[str, Any], message: str) -> None:
    manifest = manifest_of(count, who=["one"] * count, empty=np.array([None] * count))
    with pytest.raises(DataError, match=message):
        draw_splits(manifest, SplitConfig(**options), 0)


def test_no_validation_may_be_asked_for() -> None:
    assert draw_splits(manifest_of(1), SplitConfig(val=0), 0).counts() == {"train": 1}


# --- splits in files ------------------------------------------------------------------------------


def test_splits_are_written_and_read_again(tmp_path: Path) -> None:
    manifest = manifest_of(30, who=[f'g "{at % 4}", x' for at in range(30)])
    drawn = draw_splits(manifest, SplitConfig(val=0.2, group_by="who"), 4)
    write_splits(drawn, tmp_path / "splits.csv")
    header = (tmp_path / "splits.csv").read_text().splitlines()[0]
    assert header == "id,dataset,group,split"
    undrawn = drawn.with_column("split", None)
    assert apply_splits(undrawn, tmp_path / "splits.csv").table.equals(drawn.table)


def test_data_that_changed_since_the_draw_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    drawn = draw_splits(manifest_of(10, group=[f"g{at}" for at in range(10)]), SplitConfig(), 0)
    write_splits(drawn, path)
    with pytest.raises(DataError, match=r"1 samples are gone.*'s0000'"):
        apply_splits(drawn.take(range(1, 10)), path)
    more = manifest_of(12, group=[f"g{at}" for at in range(12)])
    with pytest.raises(DataError, match=r"2 samples are new.*'s0010', 's0011'"):
        apply_splits(more, path)
    assert apply_splits(more, path, allow_new=True).table.equals(drawn.table)
    with pytest.raises(DataError, match="1 samples changed their group"):
        apply_splits(drawn.with_column("group", ["x", *drawn.column("group")[1:]]), path)
    path.write_text("id,split\ns0000,trian\n")
    with pytest.raises(DataError, match=r"splits.csv:2: unknown split 'trian'"):
        apply_splits(drawn, path)


@pytest.mark.parametrize("key", ["id", "group"])
def test_a_file_decides_by_id_or_group(tmp_path: Path, key: str) -> None:
    values = [f"s{at:04d}" for at in range(6)] if key == "id" else ["p0", "p1", "p2"]
    words = dict(
        zip(values, ["train", "validation", "test", "exclude", "naive", "train"], strict=False)
    )
    path = tmp_path / "subjects.csv"
    path.write_text(f"{key},split\n" + "".join(f"{name},{word}\n" for name, word in words.items()))
    columns = {"group": [f"p{at % 3}" for at in range(6)]} if key == "group" else {}
    manifest = manifest_of(6, **columns)
    drawn = draw_splits(manifest, SplitConfig(file=str(path)), 0)
    if key == "id":
        assert drawn.column("split") == ["train", "val", "test", "naive", "train"]
        assert "s0003" not in drawn.column("id")
    else:
        assert drawn.column("split") == ["train", "val", "test"] * 2


def test_a_file_that_lacks_samples_contradicts_itself_or_parts_groups_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.csv"
    config = SplitConfig(file=str(path))
    path.write_text("id,split\ns0000,train\n")
    with pytest.raises(DataError, match=r"sample 's0001' has no split(.|\n)*Add a line"):
        draw_splits(manifest_of(2), config, 0)
    path.write_text("id,split\ns0000,train\ns0001,val\ns0000,val\n")
    with pytest.raises(DataError, match=r"s.csv:4: id 's0000' is val here and train above"):
        draw_splits(manifest_of(2), config, 0)
    path.write_text("id,split\ns0000,train\ns0001,val\n")
    with pytest.raises(DataError, match="'p' is in train and val"):
        draw_splits(manifest_of(2, group=["p", "p"]), config, 0)
    path.write_text("name,split\n")
    with pytest.raises(DataError, match="needs the columns 'id'"):
        draw_splits(manifest_of(2), config, 0)


# --- the arithmetic -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_shares_are_exact_and_in_proportion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    total = rng.integers(1, 100, size=rng.integers(1, 6))
    number = int(rng.integers(0, total.sum()))
    found = shares(total, number)
    assert found.sum() == number
    assert np.all(np.abs(found - number * total / total.sum()) < 1)
    assert np.all(found <= total)


def test_a_unit_that_is_too_large_is_passed_over() -> None:
    counts = np.array([[90], [4], [3], [3]])
    assert sorted(draw(counts, np.arange(4), 8).tolist()) == [1, 2]


def test_at_least_one_unit_is_drawn_and_it_is_the_smallest() -> None:
    assert draw(np.array([[50], [20], [30]]), np.arange(3), 3).tolist() == [1]


def test_folds_of_unequal_groups_are_as_equal_as_can_be() -> None:
    counts = np.array([[6], [5], [4], [3], [2], [1]])
    fold = deal(counts, np.arange(6), 3)
    assert [int(counts[fold == at].sum()) for at in range(3)] == [7, 7, 7]
