"""Models on the Hugging Face Hub: a model folder goes up with a card that names data, licence and memorisation, and comes down again.

What comes down is a model folder like any other: safetensors and JSON, of which nothing is executed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from limner.core import folder
from limner.core.errors import CheckpointError, SettingsError
from limner.metrics.scoring.protocol import Score, read_scores
from limner.model import Model, load
from limner.model.folder import FILES

FACTS = "Data, licence, memorisation"
"""The heading of what a card says of these."""


def push(model: Model | str | Path, repository: str, *, licence: str, private: bool = False, token: str | None = None) -> str:
    """Put a model that paints, or its run or folder, on the Hub as OWNER/NAME; returns its address. See `limner.push`."""
    library = _library()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SettingsError(f"'{repository}' names no repository: give OWNER/NAME")
    if not licence.strip():
        raise SettingsError("a model is shared under a licence: give one, as the Hub names them, such as cc-by-4.0")
    opened = model if isinstance(model, Model) else load(model)
    scores = [] if isinstance(model, Model) else read_scores(Path(model) / "scores.json")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "model"
        if isinstance(model, Model):
            opened.save(made)
        else:
            with folder.located(model, "method") as found:
                shutil.copytree(found, made, ignore=lambda _, names: [name for name in names if name not in FILES])
        (made / folder.CARD).write_text(card(opened, licence, scores), encoding="utf-8")
        try:
            hub = library.HfApi(token=token)
            hub.create_repo(repository, private=private, exist_ok=True)
            hub.upload_folder(folder_path=str(made), repo_id=repository, commit_message="A model made with Limner")
        except Exception as error:  # the library's own, of many kinds, and those of connections
            raise SettingsError(
                f"the Hub did not take {repository} ({_first_line(error)}): look at the name, the token and the connection"
            ) from error
    return f"https://huggingface.co/{repository}"


def fetched(repository: str) -> Path:
    """The folder of a model on the Hub, OWNER/NAME or OWNER/NAME@REVISION, in the Hub's own cache. Raises CheckpointError where it cannot
    be had."""
    library = _library()
    name, _, revision = repository.partition("@")
    try:
        return Path(library.snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))
    except Exception as error:
        raise CheckpointError(f"the Hub did not give {repository} ({_first_line(error)}): look at the name and the connection") from error


def card(model: Model, licence: str, scores: list[Score]) -> str:
    """The card that the Hub shows: its own header, what the model's card says, and what is known of what it remembers."""
    data = str(model.about.get("data", "unknown"))
    header = [f"license: {licence}", "library_name: limner", "pipeline_tag: text-to-image", "tags:", "- limner", "- text-to-image"]
    own = re.sub(r"\A---\n.*?\n---\n", "", model.card, flags=re.DOTALL).partition(f"## {FACTS}")[0].strip()  # as it was before a first push
    body = own or f"# {model.method.title}, {model.resolution} px"
    facts = [f"- Data: {data}" + (f" (fingerprint {model.about['fingerprint']})" if "fingerprint" in model.about else "")]
    facts.append(f"- Licence: {licence}")
    facts.append(f"- Memorisation: {_memorisation(scores)}")
    return "\n".join(["---", *header, "---", "", body, "", f"## {FACTS}", "", *facts, ""])


def _memorisation(scores: list[Score]) -> str:
    found = next((score for score in scores if score.name == "memorisation"), None)
    if found is None:
        return "not measured (`limner evaluate RUN --metrics memorisation`)"
    return (
        f"{found.value:.1%} of {found.protocol.count:,} pictures are nearer to a training picture than 99 % of the held-out real ones are "
        f"(pictures as good as new: 1 %; {found.protocol.features})"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise SettingsError("the Hugging Face Hub needs its library: pip install huggingface_hub, or the extra limner[hub]") from error
    return huggingface_hub
