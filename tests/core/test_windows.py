import numpy as np
import pytest

from dreem_case.core.windows import cut, cutmix, mixup, stitch, window_starts


@pytest.mark.parametrize(
    ("n", "width", "overlap", "starts"),
    [
        (10, 4, 0.5, [0, 2, 4, 6]),
        (11, 4, 0.5, [0, 2, 4, 6, 7]),  # the last one ends with the recording
        (8, 4, 0.0, [0, 4]),
        (5, 4, 0.5, [0, 1]),
        (4, 4, 0.5, [0]),
        (3, 4, 0.5, [0]),
        (6, 4, 1.0, [0, 1, 2]),  # never the same window again
    ],
)
def test_windows_lie_where_told_and_the_last_one_ends_with_the_recording(n, width, overlap, starts):
    assert window_starts(n, width, overlap).tolist() == starts


@pytest.mark.parametrize(
    ("start", "window"),
    [
        (0, [1, 2, 3]),
        (2, [3, 4, 0]),
        (-1, [0, 1, 2]),
        (4, [0, 0, 0]),
        (6, [0, 0, 0]),
        (-3, [0, 0, 0]),
        (-5, [0, 0, 0]),
    ],
)
def test_a_window_has_zeros_where_the_recording_has_nothing(start, window):
    assert cut(np.array([[1, 2, 3, 4]]), start, 3).tolist() == [window]


def test_where_windows_overlap_the_one_whose_middle_is_nearer_counts_more():
    parts, weight = [np.full((1, 4), 1.0), np.full((1, 4), 3.0)], 0.02 + np.sin(np.pi * np.array([1, 3]) / 8) ** 2
    whole = stitch(parts, np.array([0, 2]), 6)[0]
    near, far = weight[1], weight[0]
    np.testing.assert_allclose(whole[[0, 1, 4, 5]], [1, 1, 3, 3])
    np.testing.assert_allclose(whole[2:4], [(near + 3 * far) / (near + far), (far + 3 * near) / (near + far)])
    assert stitch(parts[:1], np.array([0]), 3).shape == (1, 3)  # shorter than a window


def test_a_mixed_window_and_its_target_have_the_same_shares():
    inputs = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 2, 6), np.float32)
    mixed, targets = mixup(inputs, inputs[:, :1, :3], np.random.default_rng(0))
    np.testing.assert_allclose(targets[:, 0, 0], mixed[:, 0, 0], rtol=1e-6)
    assert (np.ptp(mixed, axis=(1, 2)) == 0).all() and mixed.min() >= 0 and mixed.max() <= 7
    assert not np.array_equal(mixed, inputs)


def test_a_stretch_of_another_window_comes_with_its_target():
    inputs = np.arange(8)[:, None, None] * np.ones((1, 2, 60), int)
    cut_in, targets = cutmix(inputs, inputs[:, :1, :20], np.random.default_rng(0))
    np.testing.assert_array_equal(cut_in[:, 0, ::3], targets[:, 0])  # three samples for each of the target
    np.testing.assert_array_equal(cut_in[:, 0], cut_in[:, 1])
    changed = (targets[:, 0] != np.arange(8)[:, None]).sum(axis=1)
    assert 0 < changed.max() <= 10 and inputs[3, 0, 0] == 3  # at most half; what is given stays as it is
