"""Judging on odd recordings: what is counted, and what a stager that knows the answers loses."""

from typing import NamedTuple

import numpy as np
import pytest

from dreem_case.nights.night import Night, Signal
from dreem_case.nights.stages import Stage
from dreem_case.staging import odd_recordings
from dreem_case.staging.design_matrix import table_from_matrix
from dreem_case.staging.odd_recordings import (
    alone_losses,
    calibration_error,
    gain_losses,
    judge,
    judge_odd,
    odd_figures,
)


class Made(NamedTuple):
    """A simulated recording."""

    night: Night
    truth: np.ndarray


class Level:
    """A stager that takes the first feature for the stage."""

    def __init__(self, gain_matters=False):
        self.gain_matters = gain_matters

    def prepare(self, night):
        values = night.signals["eeg1"].values.reshape(night.n_epochs, -1)[:, :1]
        return table_from_matrix(night.record, values, ("stage",))

    def predict_proba(self, prepared):
        stages = np.rint(prepared.eeg[0, :, 0])
        stages = np.where(stages <= 4, stages, 0) if self.gain_matters else np.mod(stages, 5)
        return 0.02 + 0.9 * np.eye(5)[stages.astype(int)]

    def predict(self, prepared):
        return self.predict_proba(prepared).argmax(axis=1)

    def review(self, probabilities):
        return np.arange(len(probabilities)) % 4 == 0


STAGES = np.tile(np.repeat(np.arange(5), 4), 20).astype(np.int8)


@pytest.fixture
def night():
    values = np.repeat(STAGES, 3000).astype(np.float32)
    return Night("known", {"eeg1": Signal(values, 100, "µV", "eeg")}, len(STAGES), STAGES)


def test_a_stager_that_knows_is_judged_so(night):
    found = judge(Level(), Level().prepare(night), STAGES)
    assert (found.accuracy, found.kappa, found.share_of(Stage.WAKE), found.flagged.mean()) == (1, 1, 0.2, 0.25)
    assert judge(Level(), Level().prepare(night), STAGES, STAGES).kappa_of_truth == 1 and np.isnan(found.kappa_of_truth)
    assert calibration_error([found, found]) == pytest.approx(0.08)  # 0.92 is said, and all are right


def test_the_worst_gain_counts(night):
    losses = gain_losses(Level(gain_matters=True), [night], gains=(1.0, 5.0))
    assert losses["night"] == pytest.approx(0.8) and losses["20min"] == pytest.approx(0.8)
    assert set(losses) == {"20min", "1h", "3h", "night"}


def test_being_alone_costs_nothing_where_epochs_are_judged_alone(night):
    assert alone_losses(Level(), [Level().prepare(night)], [STAGES]) == {"20min": 0, "60min": 0}


def test_who_sleeps_at_night_is_also_judged_by_parts_and_at_other_gains(night):
    found = judge_odd(Level(), iter([("wake90", Made(night, STAGES)), ("no_deep", Made(night, STAGES))]))
    sizes = {kind: [len(one.labels) for one in judged] for kind, judged in found.items()}
    parts = {"gain_fifth": [360], "gain_five": [360], "one_derivation": [400], "alone_20min": 10 * [40]}
    assert sizes == {"wake90": [400], "no_deep": [400], **parts}
    loud, usual = judge_odd(Level(gain_matters=True), iter([("nap", Made(night, STAGES))])), found
    assert loud["gain_five"][0].accuracy == pytest.approx(0.2)  # fivefold: only WAKE stays what it is
    assert usual["one_derivation"][0].accuracy == 1


def test_figures_have_their_names(night):
    one = judge(Level(), Level().prepare(night), STAGES)
    judged = {kind: [one] for kind in odd_recordings.ODD_KINDS}
    found = odd_figures(judged, {"20min": 0.01}, {"60min": 0.02})
    assert found == {
        "simulated.odd.kappa.wake90": 1.0, "simulated.odd.kappa.day24": 1.0, "simulated.odd.kappa.no_deep": 1.0,
        "simulated.odd.wake_share.no_sleep": 0.2,
        **{f"simulated.odd.ece.{kind}": pytest.approx(0.08) for kind in odd_recordings.ODD_KINDS},
        "simulated.odd.accuracy_loss.gain_20min": 0.01, "simulated.odd.accuracy_loss.alone_60min": 0.02,
    }
