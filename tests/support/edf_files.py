"""Small EDF files: as they should be, and with whatever is wrong that a test asks for."""

from pathlib import Path

import numpy as np

from dreem_case.nights.edf_header import header_bytes

HEIGHT_UV = 50.0
USUAL = {
    "label": "EEG Fpz-Cz", "physical minimum": "-200", "physical maximum": "200", "digital minimum": "-2000",
    "digital maximum": "2000",
}  # fmt: skip


def wave(fs_hz: int, seconds: int) -> np.ndarray:
    """A wave of 50 µV at 1 Hz, in steps of 0.1 µV."""
    return np.round(500 * np.sin(2 * np.pi * np.arange(fs_hz * seconds) / fs_hz)).astype("<i2")


def listed(*annotations: tuple, onset: float = 0.0) -> bytes:
    """Write annotations of onset, duration and text as a record's list."""
    entries = [f"+{onset:.12g}\x14\x14"]
    for start, duration, text in annotations:
        lasting = "" if duration is None else f"\x15{duration:.12g}"
        entries.append(f"{start:+.12g}{lasting}\x14{text}\x14")
    return "\0".join(entries).encode() + b"\0"


def psg(
    path: Path, *, fs_hz: int = 100, n_records: int = 10, record_s: int = 30, channels: list[dict] | None = None,
    onsets: list[float] | None = None, texts: bytes = b"", reserved: str = "", **of_file,
) -> Path:  # fmt: skip
    """Write a recording of waves; `onsets` and `texts` make it EDF+."""
    rows = [USUAL | {"samples": str(fs_hz * record_s)} | row for row in channels or [{}]]
    values = [wave(int(row["samples"]) // record_s, record_s * n_records).reshape(n_records, -1) for row in rows]
    if onsets is not None or texts:
        n_bytes = max(32, len(texts) + len(texts) % 2)
        rows = [*rows, {"label": "EDF Annotations", "samples": str(n_bytes // 2)}]
        reserved = reserved or "EDF+C"
    records = []
    for i in range(n_records):
        record = b"".join(own[i].tobytes() for own in values)
        if onsets is not None or texts:
            own = texts if i == 0 and texts else listed(onset=onsets[i] if onsets else i * record_s)
            record += own.ljust(n_bytes, b"\0")
        records.append(record)
    declared = of_file.pop("n_records_declared", n_records)
    duration = of_file.pop("duration", str(record_s))
    given = {"date": "24.04.89", "time": "16.13.00"} | of_file
    path.write_bytes(header_bytes(declared, duration, rows, reserved, **given) + b"".join(records))
    return path


def hypnogram(path: Path, *annotations: tuple, **of_file) -> Path:
    """Write an EDF+ hypnogram of one record without a duration."""
    content = listed(*annotations)
    content = content.ljust(len(content) + len(content) % 2, b"\0")
    rows = [{"label": "EDF Annotations", "samples": str(len(content) // 2)}]
    given = {"date": "24.04.89", "time": "16.13.00"} | of_file
    path.write_bytes(header_bytes(1, "0", rows, "EDF+C", **given) + content)
    return path
