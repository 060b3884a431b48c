"""The model that comes with the package belongs to the code that is there, and needs no training.

After a change that is meant: `python -m dreem_case.staging.shipped`, then `python -m tests.staging.test_shipped`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from dreem_case.core.model_file import read_manifest
from dreem_case.staging.corruptions import keep_derivations, without_accelerometer
from dreem_case.staging.score import score_night
from dreem_case.staging.shipped import JUDGING_SEED, described_person, shipped_model_folder, thinned
from dreem_case.staging.stagers import load_stager
from tests.conftest import ROOT

GOLDEN = Path(__file__).with_name("shipped_golden.json")


@pytest.fixture(scope="module")
def stager():
    return load_stager(shipped_model_folder())


@pytest.fixture(scope="module")
def person():
    return described_person(1, JUDGING_SEED)


def some_probabilities(stager, person):
    return stager.predict_proba(person[0])[::5].round(3).tolist()


def test_a_fixed_recording_has_the_probabilities_that_it_had(stager, person):
    golden = json.loads(GOLDEN.read_text())
    assert golden["version"] == stager.version
    np.testing.assert_allclose(some_probabilities(stager, person), golden["probabilities"], atol=0.02)


def test_it_gives_the_figures_that_its_manifest_states(stager):
    stated = stager.metrics["accuracy_by_person"]
    for index in (1, 4, 5):  # the short ones
        night, labels, _ = described_person(index, JUDGING_SEED)
        assert (stager.predict(night) == labels).mean() == pytest.approx(stated[index], abs=0.02)


def test_its_page_shows_the_figures_of_its_manifest(stager):
    page = json.loads((ROOT / "nbs/library/staging/shipped.ipynb").read_text())
    shown = "".join(text for cell in page["cells"] for out in cell.get("outputs", []) for text in out["text"])
    stated = stager.metrics
    assert f"judged on {stated['judged_on']}" in shown, "run the page's last cell anew"
    assert f"kappa {stated['kappa_per_night_mean']:.3f}" in shown and f"accuracy {stated['accuracy']:.3f}" in shown


def test_it_is_the_model_where_nobody_names_one():
    assert load_stager().version == read_manifest(shipped_model_folder())["version"]


def test_it_has_seen_no_default_night(stager):
    from dreem_case.simulate.nights import simulated_record

    assert not {simulated_record(index, seed) for index in range(7) for seed in range(5)} & set(stager.trained_on)
    assert len(stager.trained_on) >= 60


def test_it_stages_what_it_has_not_seen(stager, person):
    night, _, truth = person
    assert (stager.predict(night) == truth).mean() > 0.8


def test_no_gain_changes_a_stage(stager):
    from dreem_case.simulate.people import Person
    from dreem_case.simulate.population import population_night

    found = []
    for gain in (1.0, 0.2, 5.0):
        night = population_night(5, 91, "cut", Person(gain=gain)).night
        found.append(stager.predict(stager.prepare(night)))
    assert min((found[0] == other).mean() for other in found[1:]) > 0.96


def test_a_still_accelerometer_is_as_good_as_none(stager):
    from dreem_case.simulate.people import Person
    from dreem_case.simulate.population import population_night

    still, none = (population_night(5, 91, "cut", Person(accelerometer=kind)).night for kind in ("still", "absent"))
    assert np.array_equal(still.signals["eeg1"].values, none.signals["eeg1"].values)
    np.testing.assert_array_equal(*(stager.predict_proba(stager.prepare(night)) for night in (still, none)))
    assert any("still" in note for note in score_night(still, stager).notes)


def test_at_least_a_tenth_and_less_than_half_of_a_recording_is_flagged(stager, person):
    for night in (person[0], keep_derivations(without_accelerometer(person[0]), ["eeg1"])):
        assert 0.1 <= stager.review(stager.predict_proba(night)).mean() <= 0.45
    for probabilities in (np.tile([0.96, 0.01, 0.01, 0.01, 0.01], (50, 1)), np.full((50, 5), 0.2)):
        assert stager.review(probabilities).mean() <= 0.45
    assert stager.review(np.zeros((0, 5))).shape == (0,)


def test_a_recording_unlike_all_training_is_said_to_be(stager, person):
    from dataclasses import replace

    night, _, _ = person
    shift, notes = stager.unlike_training(night)
    assert shift < stager.farthest and notes == ()
    random = np.random.default_rng(0)
    odd = replace(night, eeg=(night.eeg + random.normal(0, 30, night.eeg.shape[2])).astype(np.float32))
    shift, (note,) = stager.unlike_training(odd)
    assert shift > stager.farthest and note.startswith("unlike all recordings that the model was trained on")


def test_long_recordings_are_thinned_in_blocks_and_short_ones_are_not():
    assert (thinned(np.zeros(1000, np.int8)) >= 0).sum() == 500
    assert (thinned(np.zeros(400, np.int8)) >= 0).all()


if __name__ == "__main__":
    shipped = load_stager(shipped_model_folder())
    probabilities = some_probabilities(shipped, described_person(1, JUDGING_SEED))
    GOLDEN.write_text(json.dumps({"version": shipped.version, "probabilities": probabilities}) + "\n")
