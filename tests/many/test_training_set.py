"""The scored nights of a store: what cannot be used is left out with its reason, the others are read when asked."""

import json
import shutil
from dataclasses import replace
from socket import gethostname
from types import SimpleNamespace

import numpy as np
import pytest

from dreem_case.core.cache import CacheError
from dreem_case.core.workers import Done, LocalWorkers, Workers
from dreem_case.many import training_set
from dreem_case.many.training_set import NightTables, compute_features, survey_store
from dreem_case.nights.store import GIVE_UP, RecordChanged, StoreError, StorePlace, StoreUnavailable, open_store
from dreem_case.staging.feature_cache import FeatureCache
from dreem_case.staging.features import night_features
from tests.staging.test_feature_cache import put_night


class Here(Workers):
    """This process, which does the last record first."""

    def run(self, function, items):
        for item in reversed(list(items)):
            yield Done(item, function(item))

    def close(self):
        pass


def label(folder, record, names):
    path = folder / "hypnograms" / f"{record}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(names))


@pytest.fixture
def nights(tmp_path):
    """A folder with two scored nights, and others."""
    folder = tmp_path / "nights"
    for record in ("a", "b", "c", "d", "e"):
        put_night(folder, record)
    label(folder, "a", ["WAKE", "N2", "N2"])
    label(folder, "b", ["N2"])
    label(folder, "c", [])
    label(folder, "d", ["N2"] * 5)
    put_night(folder, "flat")
    label(folder, "broken", ["N2"])
    (folder / "h5" / "broken.h5").write_bytes(b"no h5")
    return folder


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", 10**7)


def test_what_cannot_be_used_is_left_out_with_its_reason_and_the_others_go_on(nights, cache):
    told = []
    found = survey_store(StorePlace(str(nights)), cache, Here(), on_night=told.append)
    assert [night.record for night in found.nights] == ["a", "b"]
    assert [night.labels.tolist() for night in found.nights] == [[0, 2, 2], [2, -1, -1]]
    reasons = {night["record"]: (night["code"], night["detail"]) for night in found.left_out}
    assert list(reasons) == ["broken", "c", "d", "e", "flat"]
    assert reasons["e"] == ("not_scored", "expected a hypnogram, found none")
    assert reasons["d"] == ("unusable_file", "expected at most 3 labels for as many whole epochs, found 5")
    assert reasons["c"] == ("not_scored", "expected a scored epoch, found none in 3")
    assert [reasons[record][0] for record in ("broken", "flat")] == ["unreadable_file", "not_scored"]
    assert sorted(told) == ["a", "b", "broken", "c", "d", "e", "flat"]


def test_two_processes_find_what_one_does(nights, cache):
    place = StorePlace(str(nights))
    here = survey_store(place, cache, Here())
    with LocalWorkers(2) as workers:
        there = survey_store(place, cache, workers)
    assert there.left_out == here.left_out
    assert [(n.record, n.version, n.labels_sha256, n.n_bytes) for n in there.nights] == [
        (n.record, n.version, n.labels_sha256, n.n_bytes) for n in here.nights
    ]


def test_a_night_without_a_usable_channel_is_left_out(nights, cache, monkeypatch):
    monkeypatch.setattr("dreem_case.staging.feature_cache.night_features", unusable)
    found = survey_store(StorePlace(str(nights)), cache, Here(), ["a"])
    reason = {"code": "no_usable_eeg", "detail": "expected an epoch with a usable channel, found none"}
    assert found.left_out == [{"record": "a", **reason}]


def unusable(night):
    found = night_features(night)
    return replace(found, weights=np.zeros_like(found.weights))


def test_features_are_computed_for_nights_that_nobody_has_scored(nights, cache):
    n, left_out = compute_features(StorePlace(str(nights)), cache, Here())
    assert n == 6
    assert [night["record"] for night in left_out] == ["broken"]


def test_features_that_the_cache_had_no_room_for_are_not_counted(nights, tmp_path):
    whole = FeatureCache(tmp_path / "whole", 10**7)
    compute_features(StorePlace(str(nights)), whole, Here())
    size = max(path.stat().st_size for path in whole.folder.glob("*.entry"))
    small = FeatureCache(tmp_path / "small", round(2.5 * size))
    n, left_out = compute_features(StorePlace(str(nights)), small, Here())
    assert n == len(list(small.folder.glob("*.entry"))) == 2
    assert [night["record"] for night in left_out] == ["broken"]


def test_a_store_that_goes_away_ends_the_survey(nights, cache):
    def go_away(record):
        shutil.rmtree(nights / "h5", ignore_errors=True)
        (nights / "h5").touch()

    with pytest.raises(StoreUnavailable):
        survey_store(StorePlace(str(nights)), cache, Here(), ["a"] * (GIVE_UP + 2), go_away)
    shutil.rmtree(nights)
    with pytest.raises(StoreError):
        survey_store(StorePlace(str(nights)), cache, Here())


def test_a_process_that_sees_another_folder_under_the_name_of_the_cache_ends_the_survey(nights, cache, monkeypatch):
    monkeypatch.setattr("dreem_case.many.training_set.uuid4", lambda: SimpleNamespace(hex="x"))
    compute_features(StorePlace(str(nights)), cache, Here(), ["a"])
    assert not list(cache.folder.glob(".seen-*"))
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: path.name != ".seen-x")
    training_set._opened.cache_clear()
    with pytest.raises(CacheError, match="to be one folder on a disk that all workers share, found"):
        survey_store(StorePlace(str(nights)), cache, Here())
    assert not list(cache.folder.glob(".seen-*"))


def test_a_process_that_cannot_open_the_store_says_where(nights, cache):
    with pytest.raises(StoreError, match=f"expected a folder of nights, found .*, at {gethostname()}"):
        survey_store(StorePlace(f"{nights}/absent"), cache, Here(), ["a"])


def test_another_order_of_the_list_gives_the_same_nights(nights, cache):
    place = StorePlace(str(nights))
    one = survey_store(place, cache, Here(), ["b", "e", "a"])
    other = survey_store(place, cache, Here(), ["a", "b", "e"])
    assert [night.record for night in one.nights] == [night.record for night in other.nights] == ["a", "b"]
    assert one.left_out == other.left_out


def test_tables_are_read_when_asked_and_never_of_another_file(nights, cache):
    found = survey_store(StorePlace(str(nights)), cache, Here())
    tables = NightTables(open_store(nights), cache, found.nights)
    assert [night.record for night in tables] == ["a", "b"]
    assert [night.record for night in tables.subset([1, 0])] == ["b", "a"]
    put_night(nights, "b", n_epochs=4)
    tables = NightTables(open_store(nights), FeatureCache(nights.parent / "other", 10**7), found.nights)
    assert tables[0].record == "a"
    with pytest.raises(RecordChanged):
        tables[1]


def test_a_stager_that_looks_at_signals_is_given_what_it_prepares_itself(nights, cache):
    found = survey_store(StorePlace(str(nights)), cache, Here())
    tables = NightTables(open_store(nights), cache, found.nights)
    own = SimpleNamespace(reads="night", prepare=lambda night: f"{night.record}, prepared")
    assert list(tables.read_by(own)) == ["a, prepared", "b, prepared"]
    assert tables.read_by(SimpleNamespace(reads="features")) is tables
