import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.nights.stages import (
    DISPLAY_ORDER,
    STAGE_COLORS,
    STAGE_NAMES,
    STAGES,
    UNSCORED,
    HypnogramError,
    Stage,
    format_hypnogram,
    understand_labels,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.lists(st.sampled_from(STAGE_NAMES)))
def test_a_hypnogram_survives_parsing_and_formatting(names):
    codes, _ = understand_labels(names)
    assert codes.dtype == np.int8
    assert codes.shape == (len(names),)
    assert format_hypnogram(codes) == names


@given(st.lists(st.sampled_from(STAGES)), st.integers(0, 20))
def test_an_unscored_end_is_left_out_of_the_written_list(stages, n_unscored):
    assert format_hypnogram([*stages, *[UNSCORED] * n_unscored]) == [stage.name for stage in stages]


@given(st.lists(json_values | st.sampled_from(STAGE_NAMES)))
def test_any_labels_are_understood_or_refused_with_a_short_message(values):
    try:
        codes, _ = understand_labels(values, record="night-1")
    except HypnogramError as error:
        assert re.match(r"night-1: expected .* at epoch \d+, found ", str(error))
        assert len(str(error)) < 200
        assert str(error).isascii()
    else:
        assert len(codes) == len(values)
        assert set(codes.tolist()) <= {UNSCORED, *STAGES}


@pytest.mark.parametrize("name", ["N5", "REM 1", "WAKE N1", "_member_map_", "name"])
def test_words_that_are_no_stage_are_refused(name):
    with pytest.raises(HypnogramError):
        understand_labels([name])


@given(st.integers(-128, 127).filter(lambda code: code not in STAGES and code != UNSCORED))
def test_a_code_that_is_no_stage_is_not_written(code):
    with pytest.raises(HypnogramError, match=f"night-1: expected a stage code at epoch 1, found {code}$"):
        format_hypnogram(np.array([0, code], np.int8), "night-1")


def test_an_unscored_epoch_before_a_scored_one_is_not_written():
    with pytest.raises(HypnogramError, match="an unscored epoch before a scored one"):
        format_hypnogram([Stage.N2, UNSCORED, Stage.N2])


def test_every_stage_has_one_colour_and_one_place_on_the_axis():
    assert sorted(DISPLAY_ORDER) == sorted(STAGES)
    assert set(STAGE_COLORS) == set(STAGES)
    assert len(set(STAGE_COLORS.values())) == len(STAGES)
