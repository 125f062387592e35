"""DALL-E's files: OpenAI's `encoder.pkl` and `decoder.pkl`, and DALLE-pytorch's `vae.pt` and `dalle.pt`.

OpenAI's are whole pickled modules, which are read without running anything of them (`limner.interop.pickled_modules`); their state
dicts are taken too. DALLE-pytorch's hold settings next to weights. A transformer over OpenAI's dVAE holds that in its own file; one over a
VQGAN has a network that Limner lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.core.state_dicts import read_file
from limner.interop.importer import Files, ImportOptions, NetworkImporter, filled

if TYPE_CHECKING:
    from torch import Tensor

    from limner.methods.dall_e import DALLE
    from limner.text.encoder import TextEncoder

WANTED = "give OpenAI's encoder.pkl and decoder.pkl, or DALLE-pytorch's vae.pt or dalle.pt"
KINDS = {"full": "full", "axial_row": "axial-row", "axial_col": "axial-column", "conv_like": "convolution"}
"""What the port calls the kinds of attention, and what Limner does."""
PORT_THRESHOLD = 0.5
"""The port keeps this share of text ids and codes together when it draws a code, unless another is asked for."""
State = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import dall-e` takes."""

    needs: ClassVar[str] = "--vocabulary"
    files: Files
    """OpenAI's encoder.pkl and decoder.pkl; or DALLE-pytorch's vae.pt, or its dalle.pt."""
    vocabulary: Annotated[Path | None, arg(metavar="FILE")] = None
    """The byte pairs that the transformer reads: CLIP's bpe_simple_vocab_16e6.txt.gz, as DALLE-pytorch does by default, or the .json file
    that it was given by --bpe_path. Without it the networks alone are kept."""

    def text_encoder(self) -> TextEncoder | None:
        """The encoder of the vocabulary that was asked for. Raises DataError where the file cannot be read."""
        if self.vocabulary is None:
            return None
        from limner.text.byte_pair_ids import BytePairIds

        hparams = next((found["hparams"] for path in self.files if "text_seq_len" in (found := _content(path)).get("hparams", {})), None)
        if hparams is None:
            raise SettingsError("--vocabulary is for a transformer, and no dalle.pt was given: leave it out")
        # The port's text may have ids that its vocabulary lacks, and CLIP's file holds more pairs than CLIP has ids.
        return BytePairIds.from_file(self.vocabulary, hparams["text_seq_len"], hparams["num_text_tokens"])


def read_dall_e(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[DALLE, list[str]]:
    """The files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh."""
    from limner.core.trainable import Conditions
    from limner.methods.dall_e import DALLE, DALLESettings

    if within:
        raise SettingsError("--within is not for DALL-E's files, whose parts have fixed names: leave it out")
    halves: dict[str, State] = {}
    port: dict[str, Any] | None = None
    for path in files:
        content = _content(path)
        if "hparams" in content:
            if port is not None:
                raise SettingsError(f"{path} is a second file of DALLE-pytorch: a dalle.pt holds its dVAE too; give one file")
            port = content
        else:
            half = _half(content, path)
            if half in halves:
                raise SettingsError(f"{path} is a second {half}: give one encoder and one decoder")
            halves[half] = content
    if port is not None and halves:
        raise SettingsError("DALLE-pytorch's files hold their dVAE: give them alone")
    states: dict[str, State] = {}
    if port is None:
        if set(halves) != {"encoder", "decoder"}:
            raise SettingsError(f"a dVAE is an encoder and a decoder, and {' and '.join(halves) or 'none'} was given: {WANTED}")
        values, states["dvae"] = openai_dvae(halves)
        resolution = 256
    else:
        weights, hparams = port["weights"], port["hparams"]
        if not isinstance(weights, Mapping):
            raise CheckpointError(
                "the file holds a note of DeepSpeed in place of weights: convert its folder by DeepSpeed's zero_to_fp32.py"
            )
        if "text_seq_len" not in hparams:
            values, states["dvae"] = port_dvae(hparams, weights)
            resolution = int(hparams["image_size"])
        else:
            own = {key.removeprefix("vae."): value for key, value in weights.items() if key.startswith("vae.")}
            vae_params = port.get("vae_params")
            if vae_params:
                values, states["dvae"] = port_dvae(vae_params, own)
                resolution = int(vae_params["image_size"])
            elif any(key.startswith("enc.blocks.") for key in own):
                parts = {"encoder": "enc.", "decoder": "dec."}
                values, states["dvae"] = openai_dvae(
                    {half: {key.removeprefix(p): value for key, value in own.items() if key.startswith(p)} for half, p in parts.items()}
                )
                resolution = 256
            else:
                raise CheckpointError("its pictures come from a VQGAN, which Limner does not have: give a model with a dVAE")
            more, states["transformer"] = port_transformer(hparams, {key: v for key, v in weights.items() if not key.startswith("vae.")})
            values |= more
    if "transformer" not in states:
        values |= {"width": 8, "depth": 1, "heads": 1, "head_width": 8, "attention": ("full",), "vocabulary": 300, "context_length": 8}
    conditions = Conditions(resolution=resolution, sentence_width=0, word_width=0)
    method = filled(
        DALLE(DALLESettings(**values), conditions),
        states,
        lambda player, detail: f"the {player} is not as its settings say ({detail}): {WANTED}",
    )
    return method, list(states)


def openai_dvae(halves: Mapping[str, State]) -> tuple[dict[str, Any], State]:
    """Settings and weights of OpenAI's networks, from the state dicts of "encoder" and "decoder"."""
    encoder, decoder = halves["encoder"], halves["decoder"]
    groups = {int(match[1]) for key in encoder if (match := re.match(r"blocks\.group_(\d+)\.", key))}
    blocks = {int(match[1]) for key in encoder if (match := re.match(r"blocks\.group_1\.block_(\d+)\.", key))}
    values = {
        "dvae": "openai",
        "codes": encoder["blocks.output.conv.w"].shape[0],
        "halvings": len(groups) - 1,
        "dvae_width": encoder["blocks.input.w"].shape[0],
        "dvae_blocks": len(blocks),
        "code_width": decoder["blocks.input.w"].shape[0],
        "reconstruction": "logit-laplace",
    }
    return values, {f"{half}.{_openai_name(key)}": value for half, state in halves.items() for key, value in state.items()}


def _openai_name(key: str) -> str:
    """Limner's name of a parameter of OpenAI's, whose groups, blocks and convolutions count from 1."""
    name = re.sub(r"\.w$", ".weight", re.sub(r"\.b$", ".bias", key.removeprefix("blocks.")))
    name = name.replace("output.conv.", "output.").replace(".id_path.", ".shortcut.")
    name = re.sub(r"group_(\d+)\.block_(\d+)", lambda m: f"groups.{int(m[1]) - 1}.{int(m[2]) - 1}", name)
    return re.sub(r"res_path\.conv_(\d+)", lambda m: f"path.{int(m[1]) - 1}", name)


def port_dvae(hparams: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], State]:
    """Settings and weights of the port's DiscreteVAE. How it was trained its files do not say."""
    if hparams.get("channels", 3) != 3:
        raise CheckpointError(f"its pictures have {hparams['channels']} channels: give a dVAE of colour pictures")
    values = {
        "dvae": "discrete-vae",
        "codes": hparams.get("num_tokens", 512),
        "halvings": hparams.get("num_layers", 3),
        "dvae_width": hparams.get("hidden_dim", 64),
        "dvae_blocks": hparams.get("num_resnet_blocks", 0),
        "code_width": hparams.get("codebook_dim", 512),
        "reconstruction": "l2",
    }
    residual = {"net.0": "first", "net.2": "second", "net.4": "third"}
    return values, {re.sub(r"net\.[024]", lambda match: residual[match[0]], key): value for key, value in weights.items()}


def port_transformer(hparams: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], State]:
    """Settings and weights of the port's transformer."""
    strange = set(hparams.get("attn_types") or ()) - set(KINDS)
    if strange:
        raise CheckpointError(f"its attention is {' and '.join(sorted(strange))}, and Limner has {', '.join(KINDS)}: give another model")
    depth, text_ids, length = hparams["depth"], hparams["num_text_tokens"], hparams["text_seq_len"]
    attended, fed = (tuple(hparams.get(f"shared_{part}_ids") or range(depth)) for part in ("attn", "ff"))
    codes = weights["to_logits.1.weight"].shape[0] - text_ids - length
    kept = int((1 - PORT_THRESHOLD) * len(weights["to_logits.1.weight"]))
    values = {
        "vocabulary": text_ids,
        "context_length": length,
        "width": hparams["dim"],
        "depth": depth,
        "heads": hparams.get("heads", 8),
        "head_width": hparams.get("dim_head", 64),
        "attention": tuple(KINDS[kind] for kind in hparams.get("attn_types") or ("full",)),
        "positions": "axial" if "text_pos_emb.weight" in weights else "rotary",
        "token_shift": any(".fn.fn.fn.fn." in key and key.endswith("net.0.weight") for key in weights),
        "sandwich": any(".norm_out." in key for key in weights),
        "stable": hparams.get("stable", False),
        "reversible": any(key.startswith("transformer.layers.blocks.") for key in weights),
        "tied": "text_emb.weight" not in weights,
        "shared_attention": attended if hparams.get("shared_attn_ids") else (),
        "shared_feed_forward": fed if hparams.get("shared_ff_ids") else (),
        "dropout": hparams.get("attn_dropout", 0.0),
        "picture_weight": float(hparams.get("loss_img_weight", 7)),
        "top_k": 0 if kept >= codes else max(kept, 1),
    }
    state: State = {}
    for key, value in weights.items():
        name = _transformer_name(key, attended, fed)
        if name is not None:
            flat = (
                name.endswith((".scale", "_places")) and value.ndim > 0 and value.numel() > 0
            )  # which the port stores with dimensions of one
            state[name] = value.reshape(*([-1] if name.endswith(".scale") else [-1, value.shape[-1]])) if flat else value
    return values, state


_PLAIN = {
    "text_emb.weight": "text_embedding.weight",
    "image_emb.weight": "code_embedding.weight",
    "text_pos_emb.weight": "text_places.weight",
    "to_logits.0.weight": "norm.weight",
    "to_logits.0.bias": "norm.bias",
    "to_logits.1.weight": "to_logits.weight",
    "to_logits.1.bias": "to_logits.bias",
}
_INNER = {
    "to_qkv.weight": ("attentions", "to_qkv.weight"),
    "to_out.0.weight": ("attentions", "to_out.weight"),
    "to_out.0.bias": ("attentions", "to_out.bias"),
    "net.0.weight": ("feed_forwards", "widen.weight"),
    "net.0.bias": ("feed_forwards", "widen.bias"),
    "net.3.weight": ("feed_forwards", "narrow.weight"),
    "net.3.bias": ("feed_forwards", "narrow.bias"),
}


def _transformer_name(key: str, attended: Sequence[int], fed: Sequence[int]) -> str | None:
    """Limner's name of a parameter of the port's; None for what is a copy (tied embeddings) or follows from the settings (angles)."""
    if key in _PLAIN:
        return _PLAIN[key]
    if match := re.fullmatch(r"image_pos_emb\.weights[._]([01])", key):  # of versions 0.3 and 0.2 of the port's package for it
        return ("row_places", "column_places")[int(match[1])]
    match = re.fullmatch(r"transformer\.layers\.(?:layers\.(\d+)\.([01])|blocks\.(\d+)\.([fg])\.net)\.(.*)", key)
    if match is None:
        return None if key == "transformer.pos_emb" or ".linear." in key else key
    layer, is_attention, rest = int(match[1] or match[3] or 0), (match[2] or match[4]) in ("0", "f"), match[5]
    if rest == "scale" or rest.startswith("fn.norm"):
        own = rest.replace("fn.norm_out.", "norm_after.").replace("fn.norm.", "norm.")
        return f"before_{'attention' if is_attention else 'feed_forward'}.{layer}.{own}"
    inner = re.sub(r"^(?:fn\.)+", "", rest)
    if inner not in _INNER:
        return key
    part, name = _INNER[inner]
    numbers = attended if is_attention else fed
    return f"{part}.{list(dict.fromkeys(numbers)).index(numbers[layer])}.{name}"


def _content(path: Path) -> dict[str, Any]:
    """What a file holds: the port's dictionary, or a state dict."""
    from limner.interop.pickled_modules import is_pickled_module, read_pickled_module

    if path.is_file() and is_pickled_module(path):
        return dict(read_pickled_module(path))
    content = read_file(path, WANTED)
    if not isinstance(content, Mapping) or ("hparams" in content) != ("weights" in content):
        raise CheckpointError(f"{path} is not one of DALL-E's files: {WANTED}")
    return dict(content)


def _half(state: Mapping[str, Tensor], path: Path) -> str:
    """Whether a state dict is that of OpenAI's encoder or decoder, by the side of its first convolution."""
    first = state.get("blocks.input.w")
    if first is None or first.ndim != 4:
        raise CheckpointError(f"{path} holds neither OpenAI's dVAE nor a file of DALLE-pytorch: {WANTED}")
    return "encoder" if first.shape[-1] > 1 else "decoder"


IMPORTER = NetworkImporter(
    name="dall-e",
    help="OpenAI's encoder.pkl and decoder.pkl; DALLE-pytorch's vae.pt, dalle.pt",
    description="""Turn OpenAI's dVAE, or a dVAE or a transformer of DALLE-pytorch (lucidrains/DALLE-pytorch), into Limner's dall-e.

OpenAI's files are whole pickled modules. They are read without running anything of them; a state dict does as well, which is made where
their package is installed: torch.save(torch.load("encoder.pkl", weights_only=False).state_dict(), "encoder.pt"). A dVAE alone becomes a
folder of networks, over which a transformer is trained: limner train dall-e --from dvae=FOLDER, with the dVAE's settings.""",
    examples=(
        "limner import dall-e encoder.pkl decoder.pkl --out networks/openai-dvae",
        "limner import dall-e vae.pt --out networks/dvae",
        "limner import dall-e dalle.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/dalle",
    ),
    options=Options,
    read=read_dall_e,
    source="github.com/openai/DALL-E or github.com/lucidrains/DALLE-pytorch",
)
import_dall_e = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
