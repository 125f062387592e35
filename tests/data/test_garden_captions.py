"""The garden's sentences, and reading them back."""

from __future__ import annotations

from collections import Counter

import pytest

from limner.data.garden import ATTRIBUTES, CLASS_NAMES, SPLIT_CLASSES, Garden, parse
from limner.data.garden.captions import FORMS, Caption, write
from limner.data.garden.phrases import PHRASES


@pytest.fixture(scope="module")
def captions() -> list[Caption]:
    garden = Garden("all", seed=4)
    return [caption for k in range(3) for caption in garden.captions(range(3000), k)]


def test_parse_inverts_every_caption(captions: list[Caption]) -> None:
    for caption in captions:
        assert parse(caption.text) == dict(caption.named), caption.text


def test_parse_inverts_every_form_with_every_phrase() -> None:
    plain = {"colour": "red", "count": "5", "shape": "round", "centre": "golden", "background": "sky", "size": "large"}
    for position in range(len(FORMS)):
        for name, values in ATTRIBUTES.items():
            for value in values:
                phrases = PHRASES[name][value]
                for k in range(len(phrases)):
                    draws = [(position + 0.5) / len(FORMS)] + [(k + 0.5) / len(phrases)] * 8
                    caption = write({**plain, name: value}, draws)
                    assert parse(caption.text) == dict(caption.named), caption.text


def test_captions_say_enough(captions: list[Caption]) -> None:
    counts = Counter(name for caption in captions for name in caption.named)
    assert min(counts[name] for name in ATTRIBUTES) >= 0.55 * len(captions)
    assert sum(len(caption.named) >= 4 for caption in captions) >= 0.5 * len(captions)
    assert {len(caption.named) for caption in captions} == {1, 2, 3, 4, 5, 6}
    words = {word.strip(",") for caption in captions for word in caption.text.split()}
    assert 80 < len(words) < 250
    assert len(set(FORMS)) >= 24


def test_captions_are_plain_english(captions: list[Caption]) -> None:
    for caption in captions:
        words = caption.text.replace(",", "").split()
        assert caption.text == caption.text.lower().strip() and not caption.text.endswith(".")
        assert not {"left", "right"} & set(words)
        for article, noun in zip(words, words[1:], strict=False):
            if article in ("a", "an"):
                assert (article == "an") == (noun[0] in "aeiou"), caption.text


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_counterfactual_changes_exactly_one_named_attribute(split: str) -> None:
    garden = Garden(split, seed=2)
    rows = range(1500)
    changed_attributes, held_out = Counter[str](), {CLASS_NAMES[c] for s in ("val", "test") for c in SPLIT_CLASSES[s]}
    for caption, other in zip(garden.captions(rows, 1), garden.counterfactuals(rows, 1, rows), strict=True):
        before, after = parse(caption.text), parse(other.text)
        assert after == dict(other.named) and list(before) == list(after)
        changed = [name for name in before if before[name] != after[name]]
        assert len(changed) == 1, (caption.text, other.text)
        changed_attributes.update(changed)
        if split == "train":
            assert f"{after.get('colour')} {after.get('shape')}" not in held_out
    assert set(changed_attributes) == set(ATTRIBUTES)
    assert garden.counterfactual(7, 1, 7) == garden.counterfactuals(7, 1, 7)[0]
    assert len({garden.counterfactual(7, 1, draw).text for draw in range(30)}) > 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A pink flower with five round petals.", {"colour": "pink", "count": "5", "shape": "round"}),
        ("Eight thin white petals; the center is red", {"colour": "white", "count": "8", "shape": "slender", "centre": "crimson"}),
        ("a big yellow-centred lilac bloom at NIGHT", {"colour": "purple", "centre": "golden", "size": "large", "background": "night"}),
        ("white flower under a bright blue sky", {"colour": "white", "background": "sky"}),
        ("a green-eyed monster in the night sky", {"background": "night"}),
        (
            "rose, 6 heart shaped petals on golden sand",
            {"colour": "pink", "count": "6", "shape": "heart-shaped", "background": "sand"},
        ),
        ("a red and white flower with four petals", {"count": "4"}),
        ("a bicycle", {}),
        ("", {}),
    ],
)
def test_parse_reads_free_sentences(text: str, named: dict[str, str]) -> None:
    assert parse(text) == named
