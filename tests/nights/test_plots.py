"""What a figure must show whatever data it is given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dreem_case.core import figures
from dreem_case.core.calibration import reliability
from dreem_case.core.resampling import paired_difference
from dreem_case.nights import plots
from dreem_case.nights.sleep_statistics import BlandAltman
from dreem_case.nights.stages import DISPLAY_ORDER, STAGE_COLORS, UNSCORED, Stage


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_a_hypnogram_has_wake_on_top_and_deep_at_the_bottom(ax):
    plots.hypnogram(np.arange(5), ax)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    heights = dict(zip(labels, ax.get_yticks(), strict=True))
    assert sorted(heights, key=heights.get, reverse=True) == [stage.name for stage in DISPLAY_ORDER]


def test_an_unscored_epoch_leaves_a_gap_in_the_hypnogram(ax):
    plots.hypnogram(np.array([0, UNSCORED, 2]), ax)
    drawn = ax.patches[0].get_data().values
    assert np.isnan(drawn[1])
    assert np.isfinite(drawn[[0, 2]]).all()


def test_the_hypnogram_axis_ends_with_the_last_epoch(ax):
    plots.hypnogram(np.zeros(240, dtype=int), ax)
    assert ax.get_xlim() == pytest.approx((0, 2.0))


def test_an_envelope_keeps_a_single_spike(ax):
    values = np.zeros(1_000_000, dtype="float32")
    values[123_456] = 4e6
    figures.trace_envelope(values, 250, ax)
    assert ax.collections[0].get_datalim(ax.transData).ymax == pytest.approx(4e6)


def test_an_envelope_of_fewer_samples_than_bins_is_drawn(ax):
    figures.trace_envelope(np.arange(5.0), 250, ax)
    assert len(ax.collections) == 1


def test_disagreement_does_not_count_unscored_epochs():
    fig, axes = plt.subplots(3, 1)
    plots.hypnogram_pair(np.array([0, UNSCORED, 2]), np.array([0, 1, 3]), axes)
    assert axes[2].patches[0].get_data().values.tolist() == [0, 0, 1]
    plt.close(fig)


def test_a_confusion_matrix_with_an_empty_row_is_drawn_without_a_division_by_zero(ax):
    figures.confusion(np.array([[0, 0], [1, 3]]), ["A", "B"], ax)
    assert [text.get_text() for text in ax.texts] == ["0%\n0", "0%\n0", "25%\n1", "75%\n3"]


def test_the_spectrogram_shows_a_tone_at_its_frequency_and_one_column_per_epoch(ax):
    seconds = np.arange(100 * 90) / 100
    plots.spectrogram(20 * np.sin(2 * np.pi * 12 * seconds), 100, ax)
    decibels = ax.collections[0].get_array()
    assert decibels.shape[1] == 3
    assert (decibels.argmax(0) / 5 == 12).all()


def test_stages_without_epochs_are_left_out_of_a_box_plot(ax):
    plots.values_by_stage(np.arange(4.0), np.array([0, 0, 4, UNSCORED]), ax, "value")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["WAKE", "REM"]


def test_every_figure_can_say_where_its_data_came_from(ax):
    figures.label_source(ax.figure, "simulated nights, seed 1")
    assert ax.figure.get_supxlabel() == "Data: simulated nights, seed 1"


def test_stage_colours_differ_in_lightness_for_a_reader_who_sees_no_hue():
    def luminance(hex_color):
        red, green, blue = (int(hex_color[i:i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    depth = [luminance(STAGE_COLORS[s]) for s in (Stage.N1, Stage.N2, Stage.DEEP)]
    assert depth == sorted(depth, reverse=True)


def test_every_night_of_every_model_is_drawn_beside_the_mean_of_those_that_have_a_score(ax):
    scores = {"model": np.array([0.5, np.nan, 0.7]), "peer": np.array([0.4, 0.4, 0.4])}
    figures.score_per_night(scores, ["1", "2", "3"], ax)
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 3]
    np.testing.assert_array_equal(drawn, [[0.5, np.nan, 0.7], [0.4, 0.4, 0.4]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model (mean 0.60)", "peer (mean 0.40)"]


def test_stage_probabilities_fill_the_axis_from_deep_below_to_wake_on_top(ax):
    plots.stage_probabilities(np.full((4, 5), 0.2), ax)
    heights = {area.get_label(): area.get_datalim(ax.transData).y1 for area in ax.collections}
    assert sorted(heights, key=heights.get, reverse=True) == [stage.name for stage in DISPLAY_ORDER]
    assert heights["WAKE"] == pytest.approx(1)


def test_the_share_beyond_an_amplitude_falls_to_nothing_at_the_largest(ax):
    figures.amplitude_distribution({"eeg1": np.array([-100.0, 1.5, 1.5, 1.5])}, ax)
    levels_uv, share = ax.lines[0].get_data()
    assert share[levels_uv < 1.5] == pytest.approx(1)
    assert share[(levels_uv > 1.5) & (levels_uv < 100)] == pytest.approx(0.25)
    assert share[levels_uv > 100].max() < 1e-6


def test_a_difference_is_predicted_minus_scored_at_the_mean_of_both(ax):
    agreement = BlandAltman(4.0, 1.0, 7.0, np.array([12.0]), np.array([4.0]))
    plots.bland_altman(agreement, ax, "min")
    assert [float(value[0]) for value in ax.lines[0].get_data()] == [12.0, 4.0]
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [0, 4.0, 1.0, 7.0]


def test_a_channel_keeps_its_place_and_its_colour_in_the_quality_raster(ax):
    plots.quality_raster(np.array([[0, 1], [4, 4]]), ["eeg1", "eeg2"], ["a", "b", "c", "d", "e"], ax)
    assert ax.collections[0].get_array().tolist() == [[0, 1], [4, 4]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["eeg1", "eeg2"]
    assert ax.yaxis_inverted()


def test_the_middle_of_a_constant_spectrum_is_that_constant_and_a_stage_is_named_once(ax):
    plots.spectra_by_stage(np.arange(3), np.full((10, 3), 7.0), np.repeat([0, 4], 5), ax)
    assert [line.get_label() for line in ax.lines] == ["WAKE", "REM"]
    assert all((line.get_ydata() == 7).all() for line in ax.lines)


@pytest.mark.parametrize(
    ("n_epochs", "label", "ticks"), [(50, "min", " 0 5 10 15 20 25"), (239, "min", " 0 15 30 45"), (960, "h", " ")]
)
def test_a_short_recording_has_minutes_on_its_axis(ax, n_epochs, label, ticks):
    plots.hours_axis(ax, n_epochs)
    assert ax.get_xlabel() == f"time since start ({label})"
    ax.figure.canvas.draw()
    assert ticks in " ".join(text.get_text() for text in ax.get_xticklabels())


def test_flagged_epochs_have_a_strip_of_their_own_under_the_disagreement():
    fig, axes = plt.subplots(4, 1)
    plots.hypnogram_pair(np.array([0, 1, 2]), np.array([0, 1, 3]), axes, flagged=np.array([True, False, False]))
    assert [ax.patches[0].get_data().values.tolist() for ax in axes[2:]] == [[0, 0, 1], [1, 0, 0]]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "", "time since start (min)"]
    plt.close(fig)


def test_a_reliability_diagram_has_a_point_for_every_bin_of_ten_epochs():
    fig, axes = plt.subplots(2, 1)
    given = np.repeat([[0.9, 0.1], [0.55, 0.45], [0.7, 0.3]], [30, 10, 9], axis=0)
    found = reliability(np.r_[np.tile([0, 0, 1], 10), np.zeros(19, int)], given)
    figures.reliability_diagram({"model": found}, axes)
    said, right = axes[0].lines[1].get_data()
    assert said.tolist() == pytest.approx([0.55, 0.9]) and right.tolist() == pytest.approx([1, 2 / 3])
    assert sorted(axes[1].patches[0].get_data().values)[-3:] == pytest.approx([900 / 49, 1000 / 49, 3000 / 49])
    plt.close(fig)


def test_a_difference_is_drawn_for_every_night_and_its_mean_is_named(ax):
    difference = paired_difference({"a": 0.8, "b": 0.6, "c": np.nan}, {"a": 0.7, "b": 0.65, "c": 0.5})
    figures.difference_per_night(difference, ["a", "b", "c"], ax)
    assert [bar.get_height() for bar in ax.containers[0]][:2] == pytest.approx([0.1, -0.05])
    assert "mean +0.025" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_night_without_a_score_leaves_the_mean_of_a_step_to_the_others(ax):
    figures.score_by_step({"one": np.array([0.5, np.nan]), "two": np.array([0.7, 0.9])}, ax)
    assert ax.lines[-1].get_ydata().tolist() == pytest.approx([0.5, 0.8])


def test_every_loss_is_a_dot_and_the_first_row_is_on_top(ax):
    figures.dots_by_row({"a": np.array([0.1, 0.3]), "b": np.array([0.0])}, ax, "loss")
    assert ax.lines[0].get_xdata().tolist() == [0.1, 0.3] and ax.lines[1].get_xdata() == pytest.approx([0.2, 0.2])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()
