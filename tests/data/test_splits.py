"""Which split and which class a sample is in."""

from limner.data.sources import Labels, Sample
from limner.data.splits import Splitter


def sample(number: int, **labels) -> Sample:
    return Sample(key=str(number), source="a", picture=None, captions=("a flower",), labels=Labels(**labels))


def classes_of(*labels: dict[str, object]) -> list[str]:
    splitter, samples = Splitter("auto", 0.1, 0.1, 0), [sample(number, **own) for number, own in enumerate(labels)]
    for each in samples:
        splitter.count(each)
    splitter.decide()
    return [splitter.class_names()[splitter.class_id(each)] for each in samples]


def test_an_id_or_a_name_alone_means_the_class_that_has_both():
    both, number, name = {"class_id": 3, "class_name": "rose"}, {"class_id": 3}, {"class_name": "rose"}
    assert classes_of(number, both, name, {"class_id": 4}) == ["rose", "rose", "rose", "4"]
    # Where two classes have the id, or the name, nothing says which is meant.
    other = {"class_id": 3, "class_name": "oak"}
    assert classes_of(both, other, number) == ["rose", "oak", "3"]
    assert classes_of(other, {"class_id": 5, "class_name": "oak"}, {"class_id": 5}) == ["oak", "oak", "oak"]
    assert classes_of(number, name) == ["3", "rose"]


def test_classes_that_are_held_out_take_along_samples_that_say_their_id_alone():
    splitter = Splitter("class", 0.2, 0.2, 0)
    samples = [sample(number, class_id=number % 10, class_name=None if number < 10 else f"c{number % 10}") for number in range(20)]
    for each in samples:
        splitter.count(each)
    splitter.decide()
    splits = [splitter.split_of(each) for each in samples]
    assert splits[:10] == splits[10:] and {*splits} == {"train", "val", "test"}
