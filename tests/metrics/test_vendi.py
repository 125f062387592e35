"""The Vendi score of sets whose number of different members is known."""

from __future__ import annotations

import pytest
import torch

from limner.metrics.vendi import vendi_score


@pytest.mark.parametrize("width", [5, 40])
def test_it_counts_different_rows(width):
    directions = torch.eye(width)
    assert vendi_score(directions[:1].repeat(16, 1)) == pytest.approx(1.0)
    assert vendi_score(directions[:4].repeat(4, 1)) == pytest.approx(4.0)
    assert vendi_score(3.0 * directions[:5]) == pytest.approx(5.0)  # lengths do not count


def test_rarer_rows_count_less():
    directions = torch.eye(3)
    found = vendi_score(torch.cat([directions[:1].repeat(15, 1), directions[1:2]]))
    shares = torch.tensor([15 / 16, 1 / 16])
    assert found == pytest.approx(float((-(shares * shares.log()).sum()).exp())) and 1.0 < found < 2.0
