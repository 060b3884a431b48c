"""Maps, nearest nights, the health record, and modalities that are missing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dreem_case.core.agreement import EvaluationError
from dreem_case.mae.explore import (
    epoch_map,
    missing_losses,
    nearest_nights,
    night_vectors,
    one_lost_each,
    read_health_record,
    record_figures,
    sibling_ranks,
)
from dreem_case.mae.montage import MODALITIES
from dreem_case.nights.safe_h5 import CaseFileError
from tests.mae.made_up import made_up_examples


def table(folder, *lines: str):
    path = folder / "health_record.csv"
    path.write_text("\r\n".join(lines), encoding="utf-8-sig")
    return path


def test_what_a_hospital_writes_is_read(tmp_path):
    lines = ("patient,age,sex,diagnosis", '1,"4,5",f,OSA', "2,,Male,", " 3 ,unknown,?,OSA", "1,4.5,F,OSA")
    found = read_health_record(table(tmp_path, *lines))
    assert found.index.tolist() == ["1", "2", "3"]
    assert found.loc["1"].to_dict() == {"age": 4.5, "diagnosis": "OSA", "sex": "F"}
    assert found.sex.tolist() == ["F", "M", ""] and found.age.isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["patient,age,sex,diagnosis", "1,-3,F,"], "0 to 130"),
        (["patient,age,sex,diagnosis", "1,3,F,", "1,4,F,"], "two that differ"),
        (["patient,age,sex,diagnosis"], "a patient at least"),
        (["age", "3"], "no diagnosis, patient, sex"),
        (["patient,age,sex,diagnosis", f"1,4,F,{'x' * 200_000}"], "lines that can be read, found field larger"),
        (["patient,age,sex," + "x" * 200_000], "lines that can be read, found field larger"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, lines, said):
    with pytest.raises(CaseFileError, match=rf"health_record\.csv: expected .*{said}"):
        read_health_record(table(tmp_path, *lines))


def nights(n_children: int = 14, seed: int = 0):
    random = np.random.default_rng(seed)
    record = pd.DataFrame({"age": 2.0 + np.arange(n_children), "sex": list("FM" * n_children)[:n_children],
                           "diagnosis": ["OSA" if i % 3 else "none" for i in range(n_children)]},
                          index=[str(i) for i in range(n_children)])  # fmt: skip
    studies = [f"{i}_{k}" for i in range(n_children) for k in ((1, 2) if i % 4 == 0 else (1,))]
    own = random.normal(0, 2, (n_children, 6))
    rows = {
        s: own[int(s.split("_")[0])] + random.normal(0, 1, (20, 6)) + [record.age[s.split("_")[0]], *[0] * 5]
        for s in studies
    }
    return record, {s: s.split("_")[0] for s in studies}, rows


def test_age_is_told_from_nights_of_others_and_a_diagnosis_without_a_cause_is_not():
    record, patient, rows = nights()
    vectors = night_vectors(np.concatenate(list(rows.values())), np.repeat(list(rows), 20))
    found = record_figures(vectors, patient, record)
    assert set(found) == {"age", "sex", "OSA", "none"}
    assert found["age"].low > 0 and found["age"].n_groups == 14
    assert found["sex"].low < 0.5 < found["sex"].high


def test_both_nights_of_a_child_are_left_out_together():
    record, patient, rows = nights(12)
    vectors = {study: np.random.default_rng(int(patient[study])).normal(0, 1, 12) for study in rows}  # who, and no more
    assert abs(record_figures(vectors, patient, record)["age"].value) < 0.75


def test_a_second_night_is_found_where_nights_tell_the_child():
    _, patient, rows = nights()
    vectors = night_vectors(np.concatenate(list(rows.values())), np.repeat(list(rows), 20))
    ranks = sibling_ranks(nearest_nights(vectors), patient)
    assert set(ranks) == {s for s in rows if int(patient[s]) % 4 == 0} and np.median(list(ranks.values())) <= 2


def test_a_map_has_a_place_for_each_epoch_and_repeats():
    rows = np.random.default_rng(0).normal(0, 1, (40, 30))
    rows[3, 2] = np.nan
    np.testing.assert_array_equal(epoch_map(rows), epoch_map(rows))
    assert epoch_map(rows).shape == (40, 2)


def test_each_example_loses_one_modality_that_it_has_and_never_its_last():
    present = np.random.default_rng(0).random((50, 16)) < 0.7
    present[0] = np.arange(16) == 3
    left = one_lost_each(present)
    assert (present.sum(axis=1) - left.sum(axis=1)).tolist() == [0] + [1] * 49 and not (left & ~present).any()


def test_what_one_modality_knows_is_lost_with_it_and_with_no_other():
    pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
    from dreem_case.mae.embed import random_encoder
    from dreem_case.mae.model import MaeConfig, MaskedAutoencoder

    def side(seed):
        one = made_up_examples(60, seed, missing=0.0)
        stage = np.arange(60, dtype=np.int8) % 2
        signals = 0.1 * one.signals
        signals[:, 13] *= np.where(stage, 100, 1)[:, None]  # the left eye tells the stage, and nothing else does
        return replace(one, signals=signals, stage=stage)

    config = MaeConfig(patch=640, width=32, depth=1, heads=2, decoder_width=16, decoder_heads=2)
    losses = missing_losses(side(0), side(1), random_encoder(MaskedAutoencoder(config)))
    assert set(losses) == {"hand", "embedding", "hand + embedding"}
    hand = losses["hand"]
    assert list(hand) == ["none", *(modality.name for modality in MODALITIES)]
    lost = hand.pop("EOG LOC-M2")
    assert hand.pop("none") > 0.9 and lost > 0.6 and max(map(abs, hand.values())) < 0.2
    with pytest.raises(EvaluationError, match="no patient on both sides"):
        missing_losses(side(0), side(0), random_encoder(MaskedAutoencoder(config)))
