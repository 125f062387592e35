"""Pictures are held against captions of other pictures."""

import numpy as np
import pytest

from limner.metrics.alignment import of_other_pictures


@pytest.mark.parametrize("count,pictures", [(2000, 40), (2000, 355), (2001, 3), (7, 7), (40, 1000)])
def test_other_captions_are_of_other_pictures(count, pictures):
    indices = np.arange(count) % pictures
    others = of_other_pictures(indices).numpy()
    assert (indices[others] != indices).all()
    assert pictures == 40 or pictures == 3 or (others == np.roll(np.arange(count), count // 2)).all()


def test_where_pictures_are_unknown_or_one_the_others_are_half_of_all_away():
    assert of_other_pictures(np.full(4, -1)).tolist() == [2, 3, 0, 1]
    assert sorted(of_other_pictures(np.array([3, 3])).tolist()) == [0, 1]
