"""What the figures of a log are: methods report them by name, and these names say which of them a discriminator's verdicts are.

Whatever is not listed here is shown under its own name, and never as a verdict.
"""

from __future__ import annotations

VERDICTS = frozenset(
    {f"{pair}{without_text}" for pair in ("real", "fake", "mismatched") for without_text in ("", "_unconditional", "_alone")}
    | {"words_real", "words_mismatched"}
)
"""Means of what a discriminator says of true pairs, of generated pictures, and of real pictures with captions of others: probabilities, but
scores without bounds under an objective of Wasserstein's kind or a hinge."""

PENALTIES = frozenset({"penalty"})
"""Terms of a loss that hold gradients down."""


def is_verdict(name: str) -> bool:
    """Whether a figure of the log, such as `discriminator-64/fake`, is a verdict."""
    return name.rpartition("/")[2] in VERDICTS


def verdict_label(name: str, *, judge: str = "D") -> str:
    """`discriminator/words_real` -> D(words real)."""
    return f"{judge}({name.rpartition('/')[2].replace('_', ' ')})"
