"""Part III: what each part of the minutes and of a small network brings, on simulated wearers.

`python benchmarks/events_parts.py` fits everything and leaves benchmarks/events_parts.json, which chapter 3 shows; some
half an hour on one core. `minutes` or `networks` behind it fits these alone. Wearers named train.. teach, and
those named tune.. are scored: the judged ones are not touched. All trainings are short and equal, so that differences
count and not heights.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from dreem_case.core.code_version import code_version
from dreem_case.core.resampling import interval_over_groups
from dreem_case.events import minutes, model
from dreem_case.events.metric import EventTable, joined, mean_ap
from dreem_case.events.minutes import ANGLE, MinuteTable, minute_features, minute_table
from dreem_case.events.model import MinuteModel, fit_minutes
from dreem_case.events.network import fit_events
from dreem_case.events.network_config import NetworkConfig
from dreem_case.events.study import as_epochs, decoded, simulated

OUT = Path(__file__).with_name("events_parts.json")
N_TRAIN, N_TUNE, ROUNDS = 12, 12, 40
NET = NetworkConfig(epochs=5)
NETS = {
    "as it is": {}, "another seed": {"seed": 1}, "windows of 8 h": {"duration": 5760, "windows_per_epoch": 1536},
    "moments of 40 s": {"downsample_rate": 8}, "targets twice as wide": {"sigma_s": 240.0},
    "no background windows": {"background": 0.0}, "no cutmix": {"cutmix": 0.0}, "mixup in three of ten": {"mixup": 0.3},
    "without the hour": {"hour": False}, "without the wear mask": {"worn": False},
}  # fmt: skip


def change(found: EventTable, before: EventTable, truth: EventTable) -> dict[str, float]:
    """Give AP and what it gained, with an interval over wearers."""

    def gain(names: np.ndarray) -> float:
        kept = truth.of(names)
        return mean_ap(kept, found) - mean_ap(kept, before)

    people = np.unique(truth.series)
    interval = interval_over_groups(gain, people, people)
    return {"ap": mean_ap(truth, found), "gain": interval.value, "low": interval.low, "high": interval.high}


@contextmanager
def other(module: object, **values: object):
    """Let constants be others for a while."""
    kept = {key: getattr(module, key) for key in values}
    for key, value in values.items():
        setattr(module, key, value)
    try:
        yield
    finally:
        for key, value in kept.items():
            setattr(module, key, value)


def of_minutes(learned: list, tuned: list) -> dict[str, EventTable]:
    """Fit boosted minutes in each variant."""
    events = joined([wearer.events for wearer in learned])
    made = {5: [[minute_table(one.series) for one in group] for group in (learned, tuned)]}

    def tables(epoch: int, worn: bool = True) -> list[list[MinuteTable]]:
        if epoch not in made:
            made[epoch] = [[minute_table(as_epochs(one.series, epoch)) for one in group] for group in (learned, tuned)]
        if worn:
            return made[epoch]
        return [[replace(one, worn=np.ones(len(one), bool)) for one in group] for group in made[epoch]]

    def run(pair: Sequence, emptied: Sequence[str] = (), rounds: int = ROUNDS, **more: object) -> EventTable:
        train, test = ([_rows(one, emptied) for one in group] for group in pair)
        fitted = fit_minutes(pair[0], events, ANGLE, rounds, rows=train, **more)
        return decoded(pair[1], [_say(fitted, one, rows) for one, rows in zip(pair[1], test, strict=True)])

    found = {"as it is": run(tables(5)), "without the hour": run(tables(5), ("sine of", "cosine of"))}
    found["without the rough night"] = run(tables(5), ("after rough",))
    found["without turns one by one"] = run(
        tables(5), ("turn -", *(f"turn {k} min" for k in range(9)), "move ", "share")
    )
    for look in (30, 60, 120):
        far = {"SPANS": tuple(min(span, look) for span in minutes.SPANS)}
        far |= {"MOVE_SPANS": tuple(min(span, look) for span in minutes.MOVE_SPANS), "FAR_MIN": look}
        with other(minutes, **far):  # columns that are the same get the same name and are one
            found[f"a look of {look} min and no rough night"] = run(tables(5), ("after rough",))
    found["without the wear mask"] = run(tables(5, worn=False))
    for near in (1, 8):
        found[f"near is {near} min"] = run(tables(5), near_min=near)
    for name, every in (("all of the minutes far from events", 1), ("one of them in twenty", 20)):
        with other(model, ONE_IN=every):
            found[name] = run(tables(5))
    for epoch in (10, 30, 60):
        found[f"epochs of {epoch} s"] = run(tables(epoch))
    found["three seeds averaged"] = run(tables(5), seeds=(0, 1, 2))
    with other(model, N_LEAVES=63):
        found["trees four times as large"] = run(tables(5))
    return found


def _rows(table: MinuteTable, emptied: Sequence[str]) -> np.ndarray:
    rows, names = minute_features(table, ANGLE)
    rows[:, [name.startswith(tuple(emptied)) for name in names] if emptied else []] = np.nan
    return rows


def _say(fitted: MinuteModel, table: MinuteTable, rows: np.ndarray):
    with other(model, minute_features=lambda *_: (rows, fitted.columns)):
        return fitted.likelihoods(table)


def of_networks(learned: list, tuned: list) -> dict[str, EventTable]:
    """Train the small U-Net in each variant."""
    events = joined([wearer.events for wearer in learned])
    train, test = ([minute_table(one.series) for one in group] for group in (learned, tuned))
    found = {}
    for name, settings in NETS.items():
        network, _ = fit_events(train, events, replace(NET, **settings))
        found[name] = decoded(test, [network.likelihoods(table) for table in test])
        print(name, f"{time.process_time():.0f} s", flush=True)
    return found


def main(families: dict[str, Callable]) -> None:
    """Score all variants of all families against their first."""
    learned, tuned = simulated("train", N_TRAIN), simulated("tune", N_TUNE)
    truth = joined([wearer.events for wearer in tuned])
    content = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {}
    content |= {"wearers_learned": N_TRAIN, "wearers_scored": N_TUNE, "nights_scored": len(truth) // 2}
    content["network_steps"] = NET.epochs * NET.windows_per_epoch // NET.batch_size
    for family, make in families.items():
        start = time.process_time()
        found = make(learned, tuned)
        content[family] = {name: change(one, found["as it is"], truth) for name, one in found.items()}
        content[f"{family}_cpu_s"] = time.process_time() - start
        content[f"{family}_simulator"] = code_version("events.wearers")
        content["measured"] = time.strftime("%Y-%m-%d")
        OUT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    known = {"minutes": of_minutes, "networks": of_networks}
    main({name: known[name] for name in sys.argv[1:] or known})
