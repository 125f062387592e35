import pytest

from limner.data.counterfactual import replacements, substitute


@pytest.mark.parametrize(
    "text",
    [
        "this flower has five pink and white petals, with a LARGE yellow stamen.",
        "A small Red bird's beak -- spotted",
        "der Hund is next to a red, round dog\u2019s bowl",
    ],
)
def test_exactly_one_word_changes_and_everything_else_stays(text):
    seen = set()
    for draw in range(40):
        changed = substitute(text, 0, 1, 2, draw=draw)
        old, new = text.split(), changed.split()
        different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(different) == 1
        assert different[0][0][0].isupper() == different[0][1][0].isupper()
        seen.add(changed)
    assert len(seen) > 10
    assert [substitute(text, 0, 1, 2, draw=draw) for draw in range(5)] == [substitute(text, 0, 1, 2, draw=draw) for draw in range(5)]


def test_draws_do_not_repeat_before_all_changes_are_used():
    known = dict.fromkeys(("three", "six", "blue", "black", "eyes", "feet"), 1)
    texts = [substitute("a thing with two red wings", 0, 0, 0, draw=draw, known=known) for draw in range(6)]
    assert sorted(texts) == sorted(
        [
            "a thing with three red wings",
            "a thing with six red wings",
            "a thing with two blue wings",
            "a thing with two black wings",
            "a thing with two red eyes",
            "a thing with two red feet",
        ]
    )


def test_frequent_words_come_first():
    known = {"blue": 95, "black": 5, "thing": 1000}
    texts = [substitute("a red thing", 0, picture, known=known) for picture in range(200)]
    assert 175 <= texts.count("a blue thing") <= 199 and texts.count("a blue thing") + texts.count("a black thing") == 200


def test_what_would_still_be_true_is_not_offered():
    assert "large" not in replacements("big") and "tiny" in replacements("big")
    assert "white" not in replacements("pink", {"pink", "white"}) and "cream" not in replacements("pink", {"pink", "white"})
    assert set(replacements("pink", known={"pink", "blue", "large"})) == {"blue"}


def test_articles_stay_right():
    known = {"orange": 90, "red": 1, "blue": 2, "green": 3}
    changed = {substitute("an orange thing", 0, draw=draw) for draw in range(30)}
    assert changed == {"an ivory thing", "an aqua thing", "an olive thing"}
    assert "an" not in " ".join(substitute("a red thing", 0, draw=draw, known=known) for draw in range(30)).split()
    assert "a orange" not in {substitute("a red thing", 0, draw=draw, known=known)[:8] for draw in range(30)}


def test_captions_without_visual_words_are_left_to_the_caller():
    assert substitute("such a lovely thing", 0) is None
    assert substitute("красный цветок", 0) is None
    assert substitute("", 0) is None
