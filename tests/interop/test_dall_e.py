"""DALL-E's files: whole pickled modules that are read without being run, the port's dictionaries, and what both become."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.core.errors import CheckpointError, LimnerError
from limner.core.recipes import from_preset
from limner.core.trainable import Conditions
from limner.interop.dall_e import IMPORTER, Options, _transformer_name, import_dall_e, read_dall_e
from limner.interop.networks import load_networks
from limner.methods.dall_e import DALLE, DALLESettings
from limner.model import load
from limner.text.byte_pair_ids import BytePairIds
from limner.training.adoption import state_of

CAPTIONS = ["a red flower with five petals", "a blue flower with six round petals", "a red flower at night"] * 3
SMALL: dict[str, Any] = {
    "codes": 12,
    "dvae_width": 8,
    "dvae_blocks": 1,
    "code_width": 6,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "head_width": 12,
}


@pytest.fixture(scope="module")
def openai() -> DALLE:
    torch.manual_seed(0)
    return DALLE(
        DALLESettings(**SMALL, vocabulary=300, context_length=4), Conditions(resolution=256, sentence_width=0, word_width=0)
    ).eval()


def openai_state(method: DALLE, half: str) -> dict[str, Tensor]:
    """OpenAI's names of a half of its dVAE."""
    found = {}
    for key, value in getattr(method.dvae, half).state_dict().items():
        name = re.sub(r"groups\.(\d+)\.(\d+)", lambda m: f"group_{int(m[1]) + 1}.block_{int(m[2]) + 1}", key)
        name = re.sub(r"path\.(\d+)", lambda m: f"res_path.conv_{int(m[1]) + 1}", name).replace("shortcut", "id_path")
        name = name.replace("output.", "output.conv.").replace("weight", "w").replace("bias", "b")
        found[f"blocks.{name}"] = value
    return found


def pickled(state: dict[str, Tensor], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole module of classes that nobody has when it is read, one of which would run something."""
    home = ModuleType("somebodys_dall_e")

    class Part(nn.Module):
        pass

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (path.with_suffix(".touched"),)

    Part.__module__, Part.__qualname__ = home.__name__, "Part"
    home.Part = Part  # type: ignore[attr-defined]
    root = Part()
    for key, value in state.items():
        *places, name = key.split(".")
        part: nn.Module = root
        for place in places:
            if not hasattr(part, place):
                part.add_module(place, Part())
            part = getattr(part, place)
        part.register_parameter(name, nn.Parameter(value))
    root.trap = Trap()  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, home.__name__, home)
        torch.save(root, path)


def test_openai_s_pickles_are_read_and_not_run(openai: DALLE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As are its state dicts; the folder's dVAE can be taken over by a training."""
    pickled(openai_state(openai, "encoder"), tmp_path / "encoder.pkl", monkeypatch)
    torch.save(openai_state(openai, "decoder"), tmp_path / "decoder.pt")
    assert import_dall_e([tmp_path / "decoder.pt", tmp_path / "encoder.pkl"], tmp_path / "networks") == "networks"
    assert not (tmp_path / "encoder.touched").exists()
    method, players = load_networks(tmp_path / "networks")
    assert isinstance(method, DALLE) and players == ["dvae"]
    assert all(map(torch.equal, method.dvae.state_dict().values(), openai.dvae.state_dict().values()))
    fresh = DALLE(openai.settings, openai.conditions)
    fresh.adopt(fresh.phases()[0], state_of(str(tmp_path / "networks")))
    assert all(map(torch.equal, fresh.dvae.state_dict().values(), openai.dvae.state_dict().values()))


def port_file(path: Path, encoder: BytePairIds) -> DALLE:
    """A `dalle.pt` as the port's script writes it, without its optimiser."""
    settings = DALLESettings(
        **{**SMALL, "dvae_blocks": 0},
        dvae="discrete-vae",
        reconstruction="l2",
        vocabulary=len(encoder),
        context_length=encoder.context_length,
        attention=("full", "axial-row"),
        positions="rotary",
        token_shift=True,
    )
    torch.manual_seed(1)
    method = DALLE(settings, Conditions(resolution=32, sentence_width=0, word_width=0)).eval()
    ours = method.transformer.state_dict()
    layers = range(settings.depth)
    parts = ["scale", "fn.norm.weight", "fn.norm.bias"]
    attention = [f"fn.fn.fn.fn.fn.{name}" for name in ("to_qkv.weight", "to_out.0.weight", "to_out.0.bias")]
    feeding = [f"fn.fn.fn.fn.net.{name}" for name in ("0.weight", "0.bias", "3.weight", "3.bias")]
    keys = [
        f"transformer.layers.layers.{n}.{part}.{rest}"
        for n in layers
        for part, more in ((0, attention), (1, feeding))
        for rest in parts + more
    ]
    keys += ["text_emb.weight", "image_emb.weight", "to_logits.0.weight", "to_logits.0.bias", "to_logits.1.weight", "to_logits.1.bias"]
    weights = {key: ours[str(_transformer_name(key, layers, layers))] for key in keys}
    assert len(weights) == len(ours)
    weights |= {f"vae.{key}": value for key, value in method.dvae.state_dict().items()} | {"transformer.pos_emb": torch.zeros(1)}
    vae = {"image_size": 32, "num_layers": 3, "num_tokens": 12, "codebook_dim": 6, "hidden_dim": 8, "num_resnet_blocks": 0}
    hparams = {"num_text_tokens": len(encoder), "text_seq_len": encoder.context_length, "dim": 16, "depth": 2, "heads": 2, "dim_head": 12}
    hparams |= {"attn_types": ["full", "axial_row"], "loss_img_weight": 7}
    torch.save({"hparams": hparams, "vae_params": vae, "epoch": 3, "version": "1.6.6", "weights": weights}, path)
    return method


def test_the_port_s_model_paints(tmp_path: Path) -> None:
    import json

    encoder = BytePairIds.learn(CAPTIONS, 280, 8)
    (tmp_path / "bpe.json").write_text(json.dumps(encoder.description))
    method = port_file(tmp_path / "dalle.pt", encoder)
    options = Options(files=(tmp_path / "dalle.pt",), vocabulary=tmp_path / "bpe.json", out=tmp_path / "model")
    (line,) = IMPORTER.run(options)
    assert "a model" in line
    model = load(tmp_path / "model")
    text, noise = model.encode([CAPTIONS[0]]), model.noise(3, [0])
    assert torch.equal(model.method.paint(text, noise).images, method.paint(encoder([CAPTIONS[0]]), noise).images)
    assert model.generate("a red flower", n=2)[1].size == (32, 32)
    assert IMPORTER.write([tmp_path / "dalle.pt"], tmp_path / "networks") == "networks"


def test_refusals(openai: DALLE, tmp_path: Path) -> None:
    torch.save(openai_state(openai, "encoder"), tmp_path / "encoder.pt")
    port_file(tmp_path / "dalle.pt", BytePairIds.learn(CAPTIONS, 280, 8))
    content = torch.load(tmp_path / "dalle.pt", weights_only=True)
    torch.save({**content, "hparams": content["hparams"] | {"attn_types": ["sparse"]}}, tmp_path / "sparse.pt")
    torch.save({**content, "vae_params": None, "weights": {"vae.model.x": torch.zeros(1)}}, tmp_path / "vqgan.pt")
    torch.save({**content, "weights": "see the folder", "opt_state": {"x": torch.zeros(1)}}, tmp_path / "deepspeed.pt")
    torch.save({"x": torch.zeros(2)}, tmp_path / "other.pt")
    for names, message in {
        ("encoder.pt",): "an encoder and a decoder",
        ("encoder.pt", "dalle.pt"): "hold their dVAE",
        ("sparse.pt",): "its attention is sparse",
        ("vqgan.pt",): "VQGAN",
        ("deepspeed.pt",): "DeepSpeed",
        ("other.pt",): "neither OpenAI's dVAE",
        ("nothing.pt",): "there is no file",
    }.items():
        with pytest.raises(LimnerError, match=message):
            read_dall_e([tmp_path / name for name in names])
    (tmp_path / "cut.pkl").write_bytes((tmp_path / "dalle.pt").read_bytes()[:2000])
    with pytest.raises(CheckpointError):
        read_dall_e([tmp_path / "cut.pkl"])
    assert from_preset("dall-e", "cpu", "garden").resolution == 64
