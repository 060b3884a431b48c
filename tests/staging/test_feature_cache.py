"""The feature cache: never features of another file or other code, computed once, whatever happens meanwhile."""

import errno
import pickle
from dataclasses import fields, replace
from io import BytesIO

import numpy as np
import pytest

import dreem_case.staging.feature_cache as feature_cache
from dreem_case.core.cache import ResultCache
from dreem_case.nights.casefile import CaseFileError, write_night
from dreem_case.nights.night import Night, Signal
from dreem_case.nights.store import RecordChanged, open_store
from dreem_case.staging.feature_cache import FeatureCache, FeaturesDamaged, pack_features, unpack_features
from dreem_case.staging.features import NightFeatures, night_features


def put_night(folder, record="night-1", n_epochs=3, seed=0):
    """Write a night of noise; give its path."""
    noise = np.random.default_rng(seed).normal(0, 20, n_epochs * 7500).astype(np.float32)
    return write_night(Night(record, {"eeg1": Signal(noise, 250, "µV", "eeg")}, n_epochs), folder)


@pytest.fixture
def store(tmp_path):
    put_night(tmp_path / "nights")
    return open_store(tmp_path / "nights")


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", max_bytes=10**7)


@pytest.fixture
def calls(monkeypatch):
    """The records whose features were computed."""
    records = []

    def computed(night):
        records.append(night.record)
        return night_features(night)

    monkeypatch.setattr(feature_cache, "night_features", computed)
    return records


def assert_same(found, expected):
    for field in fields(NightFeatures):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


def test_what_comes_back_is_what_was_computed(store, cache, calls):
    expected = night_features(store.open_night("night-1"))
    assert_same(cache.features(store, "night-1"), expected)
    assert_same(cache.features(store, "night-1"), expected)
    assert calls == ["night-1"]


def test_a_night_of_all_signals_comes_back_as_it_was(short_nights, cache):
    store = open_store(short_nights)
    record = store.records()[0]
    expected = night_features(store.open_night(record))
    assert_same(replace(cache.features(store, record), notes=()), replace(expected, notes=()))
    assert cache.features(store, record).channel_names == expected.channel_names


def test_another_file_under_the_name_is_computed(store, cache, calls, tmp_path):
    cache.features(store, "night-1")
    put_night(tmp_path / "nights", n_epochs=4)
    assert cache.features(store, "night-1").n_epochs == 4
    assert len(calls) == 2


def test_other_code_computes_again(store, cache, calls, monkeypatch):
    cache.features(store, "night-1")
    monkeypatch.setattr(feature_cache, "result_version", lambda module: "other")
    cache.features(store, "night-1")
    assert len(calls) == 2


def test_a_hypnogram_that_comes_later_changes_nothing(store, cache, calls, tmp_path):
    before = cache.features(store, "night-1")
    labels = tmp_path / "nights" / "hypnograms" / "night-1.json"
    labels.parent.mkdir(exist_ok=True)
    labels.write_text('["WAKE", "N2"]')
    assert_same(cache.features(store, "night-1"), before)
    assert len(calls) == 1


def test_a_file_replaced_while_it_is_read_is_read_again(store, cache, monkeypatch, tmp_path):
    n_epochs = iter([5, 6])

    def replaced_meanwhile(night):
        found = night_features(night)
        if (n := next(n_epochs, None)) is not None:
            put_night(tmp_path / "nights", n_epochs=n)
        return found

    monkeypatch.setattr(feature_cache, "night_features", replaced_meanwhile)
    assert cache.features(store, "night-1").n_epochs == 6


def test_a_file_that_keeps_changing_is_given_up(store, cache, monkeypatch, tmp_path):
    def replaced_meanwhile(night):
        put_night(tmp_path / "nights", n_epochs=4)
        return night_features(night)

    monkeypatch.setattr(feature_cache, "night_features", replaced_meanwhile)
    with pytest.raises(RecordChanged):
        cache.features(store, "night-1")


def test_whoever_asks_for_a_version_gets_no_other(store, cache, tmp_path):
    version = store.version("night-1")
    put_night(tmp_path / "nights", n_epochs=4)
    with pytest.raises(RecordChanged):
        cache.features(store, "night-1", version)


def test_a_whole_entry_that_holds_something_else_is_computed_again_and_replaced(store, cache, calls, tmp_path):
    expected = cache.features(store, "night-1")
    (entry,) = (tmp_path / "cache").glob("*.entry")
    ResultCache(tmp_path / "cache", 10**7).put(entry.stem, b"no features")
    for _ in range(2):
        assert_same(cache.features(store, "night-1"), expected)
    assert len(calls) == 2


def repacked(content, **others):
    """Replace arrays of packed features."""
    with np.load(BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files} | others
    file = BytesIO()
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file.getvalue()


@pytest.mark.parametrize(
    "others",
    [
        {"eeg": np.zeros((1, 3, 2), np.float64)},
        {"eeg": np.zeros((3, 2), np.float32)},
        {"eeg": np.array([{}], object)},
        {"weights": np.zeros((1, 4), np.float32)},
        {"weights": np.zeros((2, 3), np.float32)},
        {"quality": None},
        {"notes": np.array([1.0])},
        {"notes": np.array([["two", "axes"]])},
        {"channel_names": np.array(["eeg1", "eeg2"])},
        {"accelerometer": np.zeros((3, 3), np.float32)},
    ],
)
def test_arrays_that_do_not_fit_are_no_features(others, store):
    content = pack_features(night_features(store.open_night("night-1")))
    unpack_features("night-1", repacked(content))
    with pytest.raises(FeaturesDamaged, match="night-1"):
        unpack_features("night-1", repacked(content, **others))


def test_a_file_that_cannot_be_used_is_an_error_each_time(store, cache, tmp_path):
    (tmp_path / "nights" / "h5" / "night-1.h5").write_bytes(b"no h5")
    for _ in range(2):
        with pytest.raises(CaseFileError):
            cache.features(store, "night-1")


def test_a_full_disk_costs_the_entry_and_not_the_features(store, cache, monkeypatch):
    def full(self, key, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ResultCache, "put", full)
    assert cache.features(store, "night-1").n_epochs == 3


def test_a_cache_that_comes_with_each_task_is_opened_once(cache):
    assert pickle.loads(pickle.dumps(cache)) is pickle.loads(pickle.dumps(cache))


def test_whoever_computes_elsewhere_gets_bytes_that_are_not_looked_into(store, cache, calls):
    version = store.version("night-1")
    assert cache.packed("night-1", version) is None
    cache.keep("night-1", version, b"anything")
    assert cache.packed("night-1", version) == b"anything"
    assert calls == []
    assert cache.features(store, "night-1").n_epochs == 3
    assert calls == ["night-1"]
