"""Damaged arrays are a ValueError, whatever NumPy stumbles over in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.core.files import reading_arrays


def test_a_file_cut_short_anywhere_is_a_value_error(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.npy", tmp_path / "cut.npy"
    np.save(whole, np.arange(40))
    data = whole.read_bytes()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(ValueError), reading_arrays():
            np.load(cut, allow_pickle=False)
    for place in range(10, 128):
        cut.write_bytes(data[:place] + b"(" + data[place + 1 :])
        try:
            with reading_arrays():
                np.load(cut, allow_pickle=False)
        except ValueError:
            pass


def test_errors_of_the_system_stay(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), reading_arrays():
        np.load(tmp_path / "none.npy")
