"""The table of nights: what a row may hold, and what its columns mean."""

import json
import re
from io import BytesIO

import pytest
from pyarrow import parquet

from dreem_case.many.night_table import COLUMNS, NightTable, epochs_csv, is_row

ROW = {"record": "night-1", "status": "scored", "n_epochs": 960, "sleep_min": 401.5, "waso_min": 3, "notes": None}


def content(n_rows: int = 3) -> bytes:
    """A table of some nights."""
    table = NightTable()
    for i in range(n_rows):
        table.add(ROW | {"record": f"night-{i}", "weight_eeg1": 0.5})
    return table.content()


def test_what_a_row_says_is_what_its_columns_take():
    table = NightTable()
    for row in (ROW, ROW | {"weight_eeg1": 1}, ROW | {"sleep_min": float("nan"), "other": []}):
        assert is_row(row)
        table.add(row)
    table.content()


def test_rows_that_were_just_added_are_among_the_rows_and_the_last_one_of_a_record_counts():
    table = NightTable(content(2))
    table.add(ROW | {"record": "night-1", "n_epochs": 7})
    table.add(ROW | {"record": "night-0", "weight_b": 1.0, "weight_a": 0.25, "weight_c": 1.0, "weight_d": 1.0})
    assert table.rows("n_epochs")["night-1"] == {"record": "night-1", "n_epochs": 7}
    assert list(NightTable(table.content()).rows()) == ["night-0", "night-1"]
    names = table.csv().decode().splitlines()[0].replace('"', "").split(",")
    assert names == [*COLUMNS, "weight_a", "weight_b", "weight_c", "weight_d", "weight_eeg1"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("n_epochs", '"many"'), ("n_epochs", "9.5"), ("n_epochs", "true"), ("n_epochs", "1" * 12), ("record", "7"),
     ("sleep_min", '"4"'), ("sleep_min", "1" * 400), ("sleep_min", "[]"), ("notes", "{}"), ("status", "[]"),
     ("notes", '"\\ud800"'), ("weight_eeg1", '"x"'), ("weight_\\ud800", "1")],
)  # fmt: skip
def test_what_no_column_takes_is_no_row(name, text):
    row = json.loads(json.dumps(ROW)[:-1] + f', "{name}": {text}}}')
    assert not is_row(row)
    assert not is_row([row])


def test_a_file_that_is_damaged_anywhere_counts_as_none():
    whole = content()
    n_rows = len(NightTable(whole).rows())
    for start in range(0, len(whole), 20):
        damaged = bytearray(whole)
        damaged[start : start + 20] = bytes(value ^ 255 for value in damaged[start : start + 20])
        rows = NightTable(bytes(damaged)).rows(*COLUMNS)
        assert rows in ({}, NightTable(whole).rows(*COLUMNS)), start
    assert n_rows == 3


def test_every_column_is_described_with_its_type(root):
    book = json.loads((root / "nbs" / "library" / "many" / "night_table.ipynb").read_text())
    page = "".join(line for cell in book["cells"] if cell["cell_type"] == "markdown" for line in cell["source"])
    described = {}
    for names, kind, meaning in re.findall(r"^\| (`.+?`) \| (\w+) \|[^|]*\| (.+) \|$", page, re.MULTILINE):
        assert meaning
        described |= dict.fromkeys(re.findall(r"`(.+?)`", names), kind)
    kinds = {"string": "text", "double": "number", "int32": "integer"}
    assert described == {name: kinds[kind] for name, kind in COLUMNS.items()} | {"weight_<channel>": "number"}
    assert set(parquet.read_table(BytesIO(content())).column_names) == {*COLUMNS, "weight_eeg1"}


def test_a_table_in_csv_has_the_columns_of_the_parquet_file_and_nothing_for_null():
    lines = NightTable(content(1)).csv().decode().splitlines()
    assert [name.strip('"') for name in lines[0].split(",")] == [*COLUMNS, "weight_eeg1"]
    assert lines[1].startswith('"night-0","scored",,,960,,')


def test_an_epoch_without_eeg_has_no_stage_in_its_table():
    night = {"epoch_s": 30, "stage_names": ["WAKE", "REM"], "stages": ["WAKE", "REM"], "usable": [False, True],
             "confidence": [0.5, 0.9], "review": [True, False], "probabilities": [[0.5, 0.5], [0.1, 0.9]]}  # fmt: skip
    lines = epochs_csv(night).decode().splitlines()
    assert lines[1:] == ["0,30,Sleep stage ?,0.5,1,0.5,0.5", "30,30,Sleep stage R,0.9,0,0.1,0.9"]
