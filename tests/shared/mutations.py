"""Damage to inputs, drawn from a seed: bytes, text, JSON and YAML trees, safetensors, command lines."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOKENS = [
    b"\x00",
    b"\xff\xfe",
    b"-1",
    b"NaN",
    b"1e999",
    b"../../x",
    b"%s%n",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[" * 3000,
    b"99999999999999999999",
]
TOKENS += [b"\xed\xa0\x80", b"\xf0\x9f\x8c\xb7", b"\xe2\x80\xae", b",", b"\t", b";", b"null", b"!!python/object:os.system", b"&a [*a]"]
WORDS = [
    "",
    " ",
    "\t\n",
    "rad",
    "flowr",
    "🌷",
    "\u202egnp",
    "e\u0301" * 40,
    "x" * 5000,
    "NaN",
    "-1",
    "<script>",
    "%s",
    "{0}",
    "\\",
    "'",
    '"',
    "\x1b[31m",
    "красный",
    "紅花",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x" * 5000,
    "../../x",
    "/",
    "\x00",
    [],
    {},
    [[]],
]


def damaged_bytes(data: bytes, draw: random.Random) -> bytes:
    """One to three of: bits turned, a piece cut, doubled, zeroed, or something foreign put in."""
    for _ in range(draw.randint(1, 3)):
        at, length = draw.randrange(len(data) + 1), draw.choice([1, 2, 8, 64, 1000])
        match draw.randrange(6):
            case 0 if data:
                spot = draw.randrange(len(data))
                data = data[:spot] + bytes([data[spot] ^ 1 << draw.randrange(8)]) + data[spot + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + data[at + length :]
            case 3:
                data = data[:at] + data[at : at + length] + data[at:]
            case 4:
                data = data[:at] + draw.choice([b"\x00", b"\xff"]) * len(data[at : at + length]) + data[at + length :]
            case _:
                data = data[:at] + draw.choice(TOKENS) + data[at:]
    return data


def damaged_text(text: str, draw: random.Random) -> str:
    """A caption or line with words changed, doubled, cut, or put in from a list of unpleasant ones."""
    words = text.split(" ")
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(words) + 1)
        match draw.randrange(4):
            case 0:
                words.insert(at, draw.choice(WORDS))
            case 1 if words:
                words.pop(min(at, len(words) - 1))
            case 2 if words:
                word = words[min(at, len(words) - 1)]
                words[min(at, len(words) - 1)] = word[: len(word) // 2] + draw.choice(WORDS) + word[len(word) // 2 :]
            case _:
                words = words * draw.choice([1, 2, 40])
    return " ".join(words)


def damaged_tree(tree: Any, draw: random.Random) -> Any:
    """One node of a JSON or YAML tree replaced, removed, renamed or nested; the tree given is left as it is."""
    tree = json.loads(json.dumps(tree))
    places: list[tuple[Any, Any]] = []  # container and key

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places or draw.random() < 0.02:
        return draw.choice(VALUES)
    node, key = draw.choice(places)
    match draw.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[draw.choice([key + "s", key[:-1], key.upper(), "", "../" + key, "__class__"])] = node.pop(key)
        case 2:
            node[key] = [node[key]] * draw.choice([1, 2, 500])
        case 3:
            deep: Any = node[key]
            for _ in range(draw.choice([1, 5, 300])):
                deep = {"a": deep}
            node[key] = deep
        case 4 if isinstance(node[key], int | float) and not isinstance(node[key], bool):
            node[key] = draw.choice([-node[key], node[key] + 1, node[key] * 1000, node[key] / 2, 2**63, str(node[key])])
        case _:
            node[key] = draw.choice(VALUES)
    return tree


def damaged_safetensors(data: bytes, draw: random.Random) -> bytes:
    """Its header damaged as a tree with the length right, its numbers not a number, or its bytes damaged."""
    match draw.randrange(3):
        case 0:
            length = struct.unpack("<Q", data[:8])[0]
            header = json.dumps(damaged_tree(json.loads(data[8 : 8 + length]), draw)).encode()
            return struct.pack("<Q", len(header)) + header + data[8 + length :]
        case 1:
            length = struct.unpack("<Q", data[:8])[0]
            body = bytearray(data[8 + length :])
            for _ in range(draw.choice([1, 50])):
                at = 4 * draw.randrange(max(len(body) // 4, 1))
                body[at : at + 4] = struct.pack("<f", draw.choice([float("nan"), float("inf"), 1e38, 0.0]))
            return data[: 8 + length] + bytes(body)
        case _:
            return damaged_bytes(data, draw)


def damage(path: Path, draw: random.Random) -> str:
    """Damages a file in a way that suits its kind, or puts something else in its place; says what was done."""
    data, kind = path.read_bytes(), path.suffix
    foreign = draw.random()
    if foreign < 0.04:
        path.unlink()
        return f"{path.name}: removed"
    if foreign < 0.06:
        path.unlink()
        path.mkdir()
        return f"{path.name}: a folder"
    if foreign < 0.08:
        path.write_bytes(b"")
        return f"{path.name}: empty"
    if foreign < 0.09:
        path.unlink()
        path.symlink_to(draw.choice(["/dev/full", "nowhere", path.name]))
        return f"{path.name}: a link"
    if kind == ".json" and draw.random() < 0.7:
        path.write_text(json.dumps(damaged_tree(json.loads(data), draw)))
    elif kind == ".jsonl" and data.strip() and draw.random() < 0.7:
        lines = data.decode().splitlines()
        at = draw.randrange(len(lines))
        lines[at] = json.dumps(damaged_tree(json.loads(lines[at]), draw))
        path.write_text("\n".join(lines))
    elif kind in (".yaml", ".yml") and draw.random() < 0.7:
        import yaml

        path.write_text(yaml.safe_dump(damaged_tree(yaml.safe_load(data), draw), allow_unicode=True))
    elif kind == ".safetensors":
        path.write_bytes(damaged_safetensors(data, draw))
    elif kind in (".txt", ".csv") and draw.random() < 0.6:
        path.write_text(damaged_text(data.decode(), draw))
    else:
        path.write_bytes(damaged_bytes(data, draw))
    return f"{path.name}: damaged"


def damaged_command(command: list[str], draw: random.Random, keep: Callable[[str], bool] = lambda token: False) -> list[str]:
    """A command line with arguments removed, doubled, exchanged or damaged; keep: those that must stay, such as where it may write."""
    command = list(command)
    for _ in range(draw.randint(1, 2)):
        free = [at for at in range(1, len(command)) if not keep(command[at])]
        if not free:
            return command
        at = draw.choice(free)
        match draw.randrange(6):
            case 0:
                command.pop(at)
            case 1:
                command.insert(at, command[at])
            case 2:
                other = draw.choice(free)
                command[at], command[other] = command[other], command[at]
            case 3:
                command[at] = draw.choice(
                    ["", "-1", "0", "nan", "inf", "-inf", "1e999", "1.5", "two", "--", "-", "--help", "--nonsense", "🌷", "a=b", "None"]
                )
            case 4 if len(command[at]) > 2:
                spot = draw.randrange(1, len(command[at]))
                command[at] = command[at][:spot] + draw.choice(["", "x", "=", " ", "-"]) + command[at][spot + 1 :]
            case _:
                command.insert(at, draw.choice(["--seed", "-1", "--out", "-n", "garden", "--preset", "cpu", "--device", "cuda:7", "tpu"]))
    return command
