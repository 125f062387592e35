"""Captions of bouquets: each is true of its picture and of its flowers alone, says what it is taken to say, and is wrong once changed."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from limner.core.random import uniform
from limner.data.garden.attributes import ATTRIBUTES, COLOUR, COUNT, SHAPE, SIZE, SPLIT_CLASSES, class_of
from limner.data.garden.bouquets import HELD_OUT_COMPANY, HELD_OUT_RELATIONS, Bouquets, Mention, Said, Shown, agree, parse_bouquet
from limner.data.garden.bouquets.arranging import MARGIN
from limner.data.garden.bouquets.captions import FORMS, LEAST_VIEW, PLACES, PLAIN_VIEW
from limner.data.garden.bouquets.scenes import BETWEEN, shown_by

COUNT_OF_PICTURES = 500


@pytest.fixture(scope="module", params=["train", "test"])
def spoken(request):
    bouquets = Bouquets(request.param, seed=2)
    rows = np.arange(COUNT_OF_PICTURES).repeat(2)
    numbers = np.tile([0, 1], COUNT_OF_PICTURES)
    return bouquets, rows, numbers, bouquets.captions(rows, numbers), bouquets.bouquets(np.arange(COUNT_OF_PICTURES))


def matches(codes, named) -> bool:
    return all(codes[column] == code for column, code in named.items())


def test_what_is_named_is_there_once_and_can_be_seen(spoken) -> None:
    _, rows, _, captions, found = spoken
    for row, caption in zip(rows, captions, strict=True):
        flowers = found.codes[row, : found.number[row]].tolist()
        assert caption.said.total in (None, len(flowers))
        assert caption.said.background in (None, flowers[0][4])
        for mention in caption.said.mentions:
            own = [place for place, codes in enumerate(flowers) if matches(codes, mention.named)]
            assert len(own) == mention.number and mention.named, caption.text
            for place in own:
                assert found.visible[row, place] >= LEAST_VIEW
                if {COUNT, SHAPE} & set(mention.named):
                    assert found.visible[row, place] >= PLAIN_VIEW


def test_relations_hold_of_the_boxes(spoken) -> None:
    """Told from the boxes and from who hides whom alone, not by the code that captions are made with."""
    _, rows, _, captions, found = spoken
    kinds: Counter[str] = Counter()
    for row, caption in zip(rows, captions, strict=True):
        flowers = found.codes[row, : found.number[row]].tolist()
        left, top, width, height = found.boxes[row].T
        x, y = left + width / 2, top + height / 2
        for name, places in caption.said.relations:
            groups = [[p for p, codes in enumerate(flowers) if matches(codes, caption.said.mentions[place].named)] for place in places]
            kinds[name] += 1
            if name == BETWEEN:
                (a,), (b,), (c,) = groups
                way = np.array([x[c] - x[b], y[c] - y[b]])
                step = np.array([x[a] - x[b], y[a] - y[b]])
                along = step @ way / (way @ way)
                assert 0.15 < along < 0.85, caption.text
                assert np.linalg.norm(step - along * way) < 0.42 * np.linalg.norm(way), caption.text
                continue
            for first in groups[0]:
                for second in groups[1]:
                    if name == "left":
                        assert x[second] - x[first] > 0.5 * MARGIN, caption.text
                    elif name == "above":
                        assert y[second] - y[first] > 0.5 * MARGIN, caption.text
                    else:  # in front: painted later, and the boxes overlap
                        assert first > second and found.hides[row, second, first] > 0, caption.text
                        assert abs(x[first] - x[second]) < (width[first] + width[second]) / 2
                        assert abs(y[first] - y[second]) < (height[first] + height[second]) / 2
    assert min(kinds[name] for name in ("left", "above", "front", BETWEEN)) > 40, kinds


def meaning(said: Said):
    """What is said, whatever the order of its flowers."""
    named = [(tuple(sorted(mention.named.items())), mention.number) for mention in said.mentions]
    relations = Counter()
    for name, places in said.relations:
        own = tuple(named[place] for place in places)
        relations[name, own if name != BETWEEN else (own[0], frozenset(own[1:]))] += 1
    return Counter(named), relations, said.total, said.background


def test_a_caption_is_read_back_exactly_and_so_is_a_changed_one(spoken) -> None:
    bouquets, rows, numbers, captions, _ = spoken
    changed = bouquets.counterfactuals(rows, numbers, numbers * 3)
    for caption in (*captions, *changed):
        assert meaning(parse_bouquet(caption.text)) == meaning(caption.said), caption.text
        assert parse_bouquet(caption.text.upper() + ".").total == caption.said.total


def test_a_changed_caption_is_false_and_near(spoken) -> None:
    bouquets, rows, numbers, captions, found = spoken
    truths = shown_by(found)
    changed = bouquets.counterfactuals(rows, numbers, rows)
    kinds: Counter[str] = Counter()
    for row, before, after in zip(rows, captions, changed, strict=True):
        assert agree(before.said, truths[row]).all_right and not agree(after.said, truths[row]).all_right, after.text
        ours, theirs = before.text.split(), after.text.split()
        same_flowers = Counter(m.number for m in before.said.mentions) == Counter(m.number for m in after.said.mentions)
        assert same_flowers and abs(len(ours) - len(theirs)) <= 4
        named = [sorted(column for mention in caption.said.mentions for column in mention.named) for caption in (before, after)]
        assert named[0] == named[1]
        mentions = Counter(str(m) for m in before.said.mentions) == Counter(str(m) for m in after.said.mentions)
        values = [Counter((c, v) for m in caption.said.mentions for c, v in m.named.items()) for caption in (before, after)]
        kinds["relation" if mentions else "exchange" if values[0] == values[1] else "value"] += 1
    assert kinds["exchange"] > 100 and kinds["relation"] > 100 and kinds["value"] > 50, kinds
    assert len({caption.text for caption in bouquets.counterfactuals(np.zeros(12, int), 0, np.arange(12))}) > 3


def test_training_never_speaks_of_what_is_held_out() -> None:
    bouquets = Bouquets("train", seed=9)
    rows = np.arange(800)
    colours = ATTRIBUTES["colour"]
    pairs = {frozenset(pair) for split in ("val", "test") for pair in HELD_OUT_COMPANY[split]}
    triples = {triple for split in ("val", "test") for triple in HELD_OUT_RELATIONS[split]}
    for caption in (*bouquets.captions(rows, 1), *bouquets.counterfactuals(rows, 1, 4)):
        named = [mention.named for mention in caption.said.mentions]
        spoken = [colours[each[COLOUR]] if COLOUR in each else None for each in named]
        for each in named:
            if COLOUR in each and SHAPE in each:
                assert class_of(each[COLOUR], each[SHAPE]) in SPLIT_CLASSES["train"], caption.text
        assert not pairs & {frozenset((a, b)) for a in spoken for b in spoken if a and b and a != b}, caption.text
        for name, places in caption.said.relations:
            assert name == BETWEEN or (spoken[places[0]], name, spoken[places[1]]) not in triples, caption.text


def test_captions_are_varied_plain_and_short() -> None:
    captions = [caption.text for caption in Bouquets("all", seed=1).captions(np.arange(1500), 0)]
    assert len(set(captions)) > 1400 and np.mean([len(text.split()) for text in captions]) < 22
    for word in ("left of", "right of", "above", "below", "in front of", "behind", "between", "two", "from left to right", "ones", "it"):
        assert sum(word in text for text in captions) > 8, word
    for text in captions:
        assert re.fullmatch(r"[a-z,: -]+", text) and "  " not in text and not re.search(r"\ba [aeiou]", text), text
    kinds = {kind for kind, _ in FORMS}
    assert kinds == {"pair", "group", "two", "between", "row", "column", "all", "some"}


RED, YELLOW, BLUE = (ATTRIBUTES["colour"].index(name) for name in ("red", "yellow", "blue"))


def test_free_sentences_are_read() -> None:
    said = parse_bouquet("A small red flower to the left of two yellow ones, at night.")
    assert said.mentions == (Mention({COLOUR: RED, SIZE: 0}), Mention({COLOUR: YELLOW}, 2))
    assert said.relations == (("left", (0, 1)),) and said.background == ATTRIBUTES["background"].index("night") and said.total is None
    said = parse_bouquet("Three blooms in front of a clear sky: a blue flower is behind a red one with 5 thin petals")
    assert said.total == 3 and said.relations == (("front", (1, 0)),)
    assert said.mentions[1].named == {COLOUR: RED, COUNT: 2, SHAPE: 3}
    assert parse_bouquet("under a yellow flower there is a red flower").relations == (("above", (0, 1)),)
    assert parse_bouquet("a red flower with a yellow one above it and a green eye").relations == (("above", (1, 0)),)
    assert parse_bouquet("nothing of the kind") == Said()
    for word, phrases in PLACES.items():
        for phrase in phrases:
            ((name, places),) = parse_bouquet(f"a red flower {phrase} a blue flower").relations
            assert (name, places) == ((word, (0, 1)) if word in ("left", "above", "front") else (name, (1, 0)))


def test_agreement_looks_for_each_flower_once_and_finds_the_best_reading() -> None:
    def flower(colour: int, size: int = 0) -> list[int]:
        return [colour, 0, 0, 0, 2, size]

    two_reds = Mention({COLOUR: RED}, 2)
    picture = Shown([flower(RED), flower(BLUE), flower(RED, 1)], frozenset({("left", (2, 1)), ("left", (1, 0))}), 2)
    assert agree(Said((two_reds,), total=3, background=2), picture).all_right
    assert agree(Said((Mention({COLOUR: RED}, 3),)), picture).found == 2
    said = Said((Mention({COLOUR: RED}), Mention({COLOUR: BLUE})), (("left", (0, 1)),))
    assert agree(said, picture).all_right  # one of the reds is to the left, and the other may stay where it is
    said = Said((two_reds, Mention({COLOUR: BLUE})), (("left", (0, 1)),))
    verdict = agree(said, picture)
    assert (verdict.found, verdict.named, verdict.true, verdict.said) == (3, 3, 0, 1) and not verdict.all_right
    # The large red one must not take the only flower that "a large flower" fits.
    both = Said((Mention({COLOUR: RED}), Mention({SIZE: 1})))
    assert agree(both, picture).found == 2
    verdict = agree(Said((Mention({COLOUR: YELLOW}), Mention({COLOUR: BLUE})), (("left", (0, 1)),), total=2, background=1), picture)
    assert (verdict.found, verdict.true, verdict.total_right, verdict.background_right) == (1, 0, False, False)
    assert agree(Said(), Shown([], frozenset(), 0)).all_right


def test_draws_far_apart_give_other_sentences() -> None:
    bouquets = Bouquets("all")
    draws = uniform(3, np.arange(40))
    assert len({bouquets.caption(4, int(draw * 1000)).text for draw in draws}) > 25
