"""Spool folders: one that is held or somebody else's stays, and one of a dead process goes."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreem_case.core.files import spool_folder, sweep

KILLED = """
import os, sys
from dreem_case.core.files import spool_folder
with spool_folder(sys.argv[1]) as folder:
    (folder / "night-1.h5").write_bytes(b"half of")
    os.kill(os.getpid(), 9)
"""


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    assert len(list(tmp_path.glob("*/night-1.h5"))) == 1
    with spool_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["dreem-case-spool-mine", "dreem-case-metrics-mine", "dreem-case-mine", "mine"])
def test_a_folder_without_a_lock_is_somebody_elses(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "numbers.db").write_bytes(b"numbers")
    with spool_folder(tmp_path):
        pass
    assert [path.name for path in (tmp_path / name).iterdir()] == ["numbers.db"]


def test_a_folder_of_another_name_stays_though_it_holds_a_lock(tmp_path):
    (tmp_path / "dreem-case-metrics-mine").mkdir()
    (tmp_path / "dreem-case-metrics-mine" / "lock").touch()
    sweep(tmp_path)
    assert (tmp_path / "dreem-case-metrics-mine" / "lock").exists()


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "lock").touch()
    (tmp_path / "dreem-case-spool-link").symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    assert (tmp_path / "mine" / "lock").exists()


def test_a_folder_in_use_stays_while_others_sweep(tmp_path):
    def work(i):
        for _ in range(30):
            with spool_folder(tmp_path) as folder:
                (folder / "night").write_text(str(i))
                sweep(tmp_path)
                if (folder / "night").read_text() != str(i):
                    return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), spool_folder(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_somebody_removed_is_no_error(tmp_path):
    with spool_folder(tmp_path) as folder:
        shutil.rmtree(folder)
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_it_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"), spool_folder(tmp_path / "absent"):
        pass
    assert not os.path.lexists(tmp_path / "absent")
