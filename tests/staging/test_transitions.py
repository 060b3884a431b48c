"""Chain: exact, harmless without strength, and kind to short true stages."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.staging.transitions import Chain

NIGHT = np.repeat([0, 1, 2, 3, 2, 4, 2, 4, 0], 20).astype(np.int8)


@pytest.fixture(scope="module")
def chain():
    return Chain.fit([NIGHT, NIGHT[::-1]])


def test_unscored_epochs_do_not_join_what_they_separate():
    chain = Chain.fit([np.array([3, 3, -1, 4, 4], np.int8)])
    assert chain.transitions[3, 4] == pytest.approx(0.2 / 2)
    assert chain.shares[3] == pytest.approx(3 / 9)


def test_shares_and_transitions_are_counted_by_night_with_one_of_each_stage_added():
    chain = Chain.fit([np.array([0, 0, 0, 2], np.int8), np.array([0, 1, 0], np.int8)])
    assert chain.shares == pytest.approx(np.array([6, 2, 2, 1, 1]) / 12)
    assert chain.transitions[0] == pytest.approx(np.array([2.2, 1.2, 1.2, 0.2, 0.2]) / 5)
    assert chain.transitions[1] == pytest.approx(np.array([1.2, 0.2, 0.2, 0.2, 0.2]) / 2)
    assert chain.transitions[2:] == pytest.approx(np.full((3, 5), 0.2))


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0, 1), st.floats(0, 1))
def test_it_is_what_all_sequences_of_stages_say(seed, n_epochs, strength, prior):
    chain = Chain.fit([NIGHT]).weighed(strength, prior)
    seen = np.random.default_rng(seed).dirichlet(np.ones(5), n_epochs)
    found, ways = np.zeros((n_epochs, 5)), {}
    for way in product(range(5), repeat=n_epochs):
        steps = chain.shares[way[0]] * np.prod([chain.transitions[pair] for pair in pairwise(way)])
        alone = np.prod([seen[i, stage] / chain.shares[stage] ** prior for i, stage in enumerate(way)])
        ways[way] = steps**strength * alone
        found[range(n_epochs), way] += ways[way]
    assert chain.posterior(seen) == pytest.approx(found / found.sum(axis=1, keepdims=True), abs=1e-4)
    assert ways[tuple(chain.most_probable(seen).tolist())] == pytest.approx(max(ways.values()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_posteriors_are_probabilities(seed, n_epochs, strength, prior):
    seen = np.random.default_rng(seed).dirichlet(np.full(5, 0.2), n_epochs)
    posterior = Chain.fit([NIGHT]).weighed(strength, prior).posterior(seen)
    assert posterior.shape == (n_epochs, 5) and np.all(posterior >= 0)
    assert np.allclose(posterior.sum(axis=1), 1)


def test_a_day_of_epochs_neither_overflows_nor_vanishes(chain):
    seen = np.random.default_rng(0).dirichlet(np.full(5, 0.01), 2880)
    assert np.isfinite(chain.posterior(seen)).all()
    assert chain.most_probable(seen).shape == (2880,)


def test_no_epochs_give_no_stages(chain):
    assert chain.posterior(np.zeros((0, 5))).shape == (0, 5)
    assert chain.most_probable(np.zeros((0, 5))).shape == (0,)


def test_flicker_goes_and_a_sure_short_stage_stays(chain):
    seen = np.full((60, 5), 0.05)
    seen[:, 2] = 0.8
    seen[10] = [0.45, 0.05, 0.4, 0.05, 0.05]
    seen[30:32] = [0.98, 0.005, 0.005, 0.005, 0.005]
    stages = chain.weighed(0.6, 0.3).most_probable(seen)
    assert stages[10] == 2 and np.all(stages[30:32] == 0)
    assert np.sum(stages != 2) == 2


def test_epochs_that_say_nothing_are_filled_by_their_neighbours(chain):
    seen = np.full((30, 5), 0.2)
    seen[:10], seen[20:] = [0.01, 0.01, 0.01, 0.96, 0.01], [0.01, 0.01, 0.01, 0.96, 0.01]
    assert np.all(chain.weighed(1, 0).posterior(seen).argmax(axis=1) == 3)
