"""Captions from the attributes of CelebA, by a grammar that is stated here.

    full     WHO "has" LOOKS ", wears" WORN ", and is" DOING     "this young man has straight black hair, wears a hat, and is smiling"
    looks    WHO "with" HAIR AND BEARD                           "a young man with straight black hair and a goatee"
    doing    WHO "wearing" WORN "," DOING                        "a young man wearing a hat, smiling"

WHO is `young` or `older`, and `man` or `woman`. LOOKS are hair, beard and face, in the order of the tables below. What an attribute denies
is not spoken of, but for a man without a beard ("no beard"). `Attractive` and `Blurry` are left out: the one is an opinion, and the other
is of the photograph. A part without an attribute is left out, and a caption that says no more than WHO is not made twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

ATTRIBUTES = frozenset(
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry Brown_Hair "
    "Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache "
    "Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair "
    "Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young".split()
)
_HAIR_FORMS = {"Straight_Hair": "straight", "Wavy_Hair": "wavy"}
_HAIR_COLOURS = {"Black_Hair": "black", "Blond_Hair": "blond", "Brown_Hair": "brown", "Gray_Hair": "gray"}
_HAIR = {"Bald": "a bald head", "Bangs": "bangs", "Receding_Hairline": "a receding hairline"}
_BEARD = {"Goatee": "a goatee", "Mustache": "a mustache", "Sideburns": "sideburns", "5_o_Clock_Shadow": "a five o'clock shadow"}
_FACE = {
    "Oval_Face": "an oval face",
    "Chubby": "a chubby face",
    "Double_Chin": "a double chin",
    "High_Cheekbones": "high cheekbones",
    "Rosy_Cheeks": "rosy cheeks",
    "Pale_Skin": "pale skin",
    "Arched_Eyebrows": "arched eyebrows",
    "Bushy_Eyebrows": "bushy eyebrows",
    "Narrow_Eyes": "narrow eyes",
    "Bags_Under_Eyes": "bags under the eyes",
    "Big_Nose": "a big nose",
    "Pointy_Nose": "a pointy nose",
    "Big_Lips": "big lips",
}
_WORN = {
    "Eyeglasses": "eyeglasses",
    "Wearing_Hat": "a hat",
    "Wearing_Earrings": "earrings",
    "Wearing_Necklace": "a necklace",
    "Wearing_Necktie": "a necktie",
    "Wearing_Lipstick": "lipstick",
    "Heavy_Makeup": "heavy makeup",
}


def captions(has: Set[str], known: Set[str]) -> tuple[str, ...]:
    """The captions of a face, one to three. has: the attributes that are said of it; known: those that its list speaks of."""
    person = "person" if "Male" not in known else "man" if "Male" in has else "woman"
    age = "" if "Young" not in known else "young " if "Young" in has else "older "
    article = "an" if age == "older " else "a"
    hair, beard = _hair(has), _beard(has, known)
    looks, worn = [*hair, *beard, *_said(_FACE, has)], _said(_WORN, has)
    doing = _doing(has)
    parts = [f"has {_listed(looks)}"] * bool(looks) + [f"wears {_listed(worn)}"] * bool(worn) + [f"is {doing}"] * bool(doing)
    who = f"{article} {age}{person}"
    made = [f"this {age}{person} {_joined(parts)}" if parts else who]
    if hair or beard:
        made.append(f"{who} with {_listed([*hair, *beard])}")
    if worn or doing:
        made.append(f"{who} {', '.join(filter(None, [f'wearing {_listed(worn)}' if worn else '', doing]))}")
    return tuple(dict.fromkeys(made))


def _said(words: dict[str, str], has: Set[str]) -> list[str]:
    return [text for name, text in words.items() if name in has]


def _hair(has: Set[str]) -> list[str]:
    """Hair as one phrase, such as "wavy brown and gray hair", and what else is said of it."""
    form, colour = _said(_HAIR_FORMS, has), _said(_HAIR_COLOURS, has)
    phrase = " ".join(filter(None, [_listed(form), _listed(colour)]))
    return [*([f"{phrase} hair"] if phrase else []), *_said(_HAIR, has)]


def _beard(has: Set[str], known: Set[str]) -> list[str]:
    found = _said(_BEARD, has)
    return found or (["no beard"] if {"No_Beard", "Male"} <= has & known else [])


def _doing(has: Set[str]) -> str:
    if "Smiling" in has:
        return "smiling with a slightly open mouth" if "Mouth_Slightly_Open" in has else "smiling"
    return "shown with a slightly open mouth" if "Mouth_Slightly_Open" in has else ""


def _listed(words: Sequence[str]) -> str:
    """Words with commas, and `and` before the last."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _joined(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)}, and {last}" if first else last
