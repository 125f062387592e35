"""AttnGAN's networks and training step as the authors' program computes them (github.com/taoxugit/AttnGAN, commit 0d000e6): what speed is
measured against, written anew in plain PyTorch.

Every layer stands by itself and maps are doubled before they are convolved. A step reads its captions by the frozen text encoder anew;
discriminators look at real and at generated pictures one after the other, and their weights take gradients in the generator's turn, too,
which nobody uses; Adam is PyTorch's default, not fused; the running average is a loop in Python; a log line
reads each loss on the host. Weights come from a `limner` method of the same widths (`taken_over`), so that both compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.features.inception import TorchvisionInception
from limner.matching.models.damsm import DAMSM
from limner.methods.attngan import AttnGAN


def block(wide: int, narrow: int, *, doubling: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")] if doubling else []
    return nn.Sequential(*layers, nn.Conv2d(wide, 2 * narrow, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * narrow), GatedUnit())


class GatedUnit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return x[:, :half] * torch.sigmoid(x[:, half:])


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.layers = nn.Sequential(*block(channels, channels), last, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x


class Attention(nn.Module):
    """Every place's softmax over the words; the masks of the batch are tiled along the places of all maps, as the authors tile them."""

    def __init__(self, word_width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(word_width, channels, 1, bias=False)

    def forward(self, hidden: Tensor, words: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], words [B, D, T], padding [B, T] -> [B, C, H, W] and [B, T, H, W]."""
        count, _, height, width = hidden.shape
        projected = self.project(words[..., None])[..., 0]  # [B, C, T]
        scores = torch.bmm(hidden.flatten(2).transpose(1, 2).contiguous(), projected).reshape(count * height * width, -1)
        scores.masked_fill_(padding.repeat(height * width, 1), -float("inf"))
        weights = scores.softmax(1).view(count, height * width, -1).transpose(1, 2).contiguous()  # [B, T, HW]
        return torch.bmm(projected, weights).view_as(hidden), weights.view(count, -1, height, width)


class NextStage(nn.Module):
    def __init__(self, channels: int, word_width: int, residuals: int) -> None:
        super().__init__()
        self.attention = Attention(word_width, channels)
        self.residuals = nn.Sequential(*(Residual(2 * channels) for _ in range(residuals)))
        self.doubling = block(2 * channels, channels, doubling=True)

    def forward(self, hidden: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        context, _ = self.attention(hidden, words, padding)
        return self.doubling(self.residuals(torch.cat((hidden, context), 1)))


class Generator(nn.Module):
    """Three branches of `channels` maps at 64, 128 and 256 px."""

    def __init__(self, sentence: int, word: int, condition: int, noise: int, channels: int, residuals: int) -> None:
        super().__init__()
        self.condition_width, self.top = condition, 16 * channels
        self.augment = nn.Linear(sentence, 4 * condition)
        self.linear = nn.Linear(condition + noise, self.top * 16 * 2, bias=False)
        self.normal, self.gate = nn.BatchNorm1d(self.top * 16 * 2), GatedUnit()
        self.first = nn.Sequential(*(block(self.top >> level, self.top >> level + 1, doubling=True) for level in range(4)))
        self.later = nn.ModuleList(NextStage(channels, word, residuals) for _ in range(2))
        self.pictures = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, 3, 3, 1, 1, bias=False), nn.Tanh()) for _ in range(3))

    def forward(self, z: Tensor, epsilon: Tensor, sentence: Tensor, words: Tensor, padding: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Noise [B, Z], [B, C], sentence [B, D], words [B, D, T], padding [B, T] -> pictures, the condition's mean and log variance."""
        given = F.glu(self.augment(sentence), 1)
        mean, log_variance = given[:, : self.condition_width], given[:, self.condition_width :]
        drawn = epsilon * torch.exp(0.5 * log_variance) + mean
        hidden = self.gate(self.normal(self.linear(torch.cat((drawn, z), 1)))).view(-1, self.top, 4, 4)
        maps = [self.first(hidden)]
        for stage in self.later:
            maps.append(stage(maps[-1], words, padding))
        return [picture(hidden) for picture, hidden in zip(self.pictures, maps)], mean, log_variance


class Head(nn.Module):
    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.joint = nn.Sequential(*leaky(nn.Conv2d(channels + condition, channels, 3, 1, 1, bias=False))) if condition else None
        self.logits = nn.Sequential(nn.Conv2d(channels, 1, 4, 4), nn.Sigmoid())

    def forward(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.joint is not None and condition is not None:
            code = self.joint(torch.cat((code, condition[:, :, None, None].repeat(1, 1, 4, 4)), 1))
        return self.logits(code).view(-1)


class Discriminator(nn.Module):
    def __init__(self, base: int, side: int, condition: int) -> None:
        super().__init__()
        halvings = side.bit_length() - 3
        layers: list[nn.Module] = [nn.Conv2d(3, base, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for level in range(1, halvings):
            layers += leaky(nn.Conv2d(base << level - 1, base << level, 4, 2, 1, bias=False))
        for level in range(halvings - 1, 3, -1):
            layers += leaky(nn.Conv2d(base << level, base << level - 1, 3, 1, 1, bias=False))
        self.code = nn.Sequential(*layers)
        self.matching, self.reality = Head(8 * base, condition), Head(8 * base, 0)


def leaky(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(0.2, inplace=True)]


def taken_over(method: AttnGAN) -> tuple[Generator, list[Discriminator]]:
    """The published networks around the very weights of a method of their widths, which is not to be used any more."""
    settings, conditions = method.settings, method.conditions
    with torch.device("meta"):
        generator = Generator(
            conditions.sentence_width,
            conditions.word_width or 0,
            settings.condition_width,
            settings.noise_width,
            settings.generator_channels,
            settings.residual_blocks,
        )
        judges = [Discriminator(settings.discriminator_channels, side, conditions.sentence_width) for side in method.sides]
    own = method.generator.state_dict()
    attention = {f"later.{branch}.attention.project.weight": own.pop(f"attention.{branch}.project.weight") for branch in range(2)}
    names = [name for name in generator.state_dict() if name not in attention]
    values = dict(zip(names, own.values(), strict=True)) | {name: value[..., None, None] for name, value in attention.items()}
    generator.load_state_dict(values, assign=True)
    for judge, published in zip(method.discriminators, judges, strict=True):
        published.load_state_dict(dict(zip(published.state_dict(), judge.state_dict().values(), strict=True)), assign=True)
    return generator.train(), [judge.train() for judge in judges]


class ImageEncoder(nn.Module):
    """DAMSM's picture side: Inception at 299 px, whose parameters take no gradient."""

    def __init__(self, inception: TorchvisionInception, guide: DAMSM) -> None:
        super().__init__()
        self.inception, self.regions, self.whole = inception, guide.picture_side.to_regions, guide.picture_side.to_picture

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = F.interpolate(pictures, size=(299, 299), mode="bilinear", align_corners=True)
        for name, stage in self.inception.stages():
            x = stage(x)
            if name == "Mixed_6e":
                local = x
        return self.regions(local), self.whole(x)


class PublishedStep:
    """One step of the authors' trainer at a time, on the networks of a method."""

    def __init__(self, method: AttnGAN, guide: DAMSM, image_encoder: ImageEncoder, ema: float = 0.999) -> None:
        self.generator, self.judges = taken_over(method)
        self.text_encoder, self.image_encoder, self.gammas = guide.encoder, image_encoder, guide.gammas
        self.guidance, self.ema = method.settings.guidance, ema
        rate = {"lr": method.settings.learning_rate, "betas": (method.settings.beta1, 0.999)}
        self.optimizers = [torch.optim.Adam(judge.parameters(), **rate) for judge in self.judges]
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **rate)
        self.average = [value.detach().clone() for value in self.generator.parameters()]

    def __call__(self, pictures: Sequence[Tensor], captions: Sequence[str], classes: Tensor, z: Tensor, epsilon: Tensor) -> list[float]:
        """Pictures at 64, 128 and 256 px, noise; returns the losses of the discriminators and the generator."""
        count = len(z)
        with torch.no_grad():
            text = self.text_encoder(captions)
        assert text.words is not None and text.mask is not None
        words, sentence, padding = text.words.transpose(1, 2).contiguous(), text.sentence, ~text.mask
        lengths = text.mask.sum(1).tolist()
        real, false = torch.ones(count), torch.zeros(count)
        fakes, mean, log_variance = self.generator(z, epsilon, sentence, words, padding)

        losses = []
        for judge, optimizer, seen, fake in zip(self.judges, self.optimizers, pictures, fakes):
            judge.zero_grad()
            loss = self._judge(judge, seen, fake.detach(), sentence, real, false)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

        self.generator.zero_grad()
        total = torch.zeros(())
        for judge, fake in zip(self.judges, fakes):
            code = judge.code(fake)
            fooling = F.binary_cross_entropy(judge.matching(code, sentence), real) + F.binary_cross_entropy(judge.reality(code), real)
            total = total + fooling
            fooling.item()  # for the log line
        regions, whole = self.image_encoder(fakes[-1])
        by_words = torch.stack(self._words_loss(regions, words, lengths, classes)).sum() * self.guidance
        by_sentence = torch.stack(self._sentence_loss(whole, sentence, classes)).sum() * self.guidance
        by_words.item(), by_sentence.item()
        divergence = -0.5 * torch.mean(1 + log_variance - mean.pow(2) - log_variance.exp())
        total = total + by_words + by_sentence + divergence
        divergence.item()
        total.backward()
        self.generator_optimizer.step()
        for value, average in zip(self.generator.parameters(), self.average):
            average.mul_(self.ema).add_(value.data, alpha=1.0 - self.ema)
        return [*losses, total.item()]

    @staticmethod
    def _judge(judge: Discriminator, seen: Tensor, fake: Tensor, sentence: Tensor, real: Tensor, false: Tensor) -> Tensor:
        bce = F.binary_cross_entropy
        code, fake_code = judge.code(seen), judge.code(fake)
        matched, generated = bce(judge.matching(code, sentence), real), bce(judge.matching(fake_code, sentence), false)
        wrong = bce(judge.matching(code[:-1], sentence[1:]), false[1:])
        looks_real, looks_false = bce(judge.reality(code), real), bce(judge.reality(fake_code), false)
        return (looks_real + matched) / 2.0 + (looks_false + generated + wrong) / 3.0

    def _words_loss(self, regions: Tensor, words: Tensor, lengths: Sequence[int], classes: Tensor) -> tuple[Tensor, Tensor]:
        """Caption by caption: each of its words looks at the regions of every picture."""
        count, columns = len(regions), []
        for row, length in enumerate(lengths):
            word = words[row, :, :length].unsqueeze(0).contiguous().repeat(count, 1, 1)  # [B, D, T]
            seen = regions.flatten(2)  # [B, D, R]
            attention = torch.bmm(seen.transpose(1, 2).contiguous(), word).softmax(2).transpose(1, 2)  # [B, T, R]
            attention = (attention * self.gammas.attention).softmax(2)
            context = torch.bmm(seen, attention.transpose(1, 2).contiguous())  # [B, D, T]
            cosine = F.cosine_similarity(word, context, dim=1)  # [B, T]
            columns.append((cosine * self.gammas.words).exp().sum(1, keepdim=True).log())
        return self._both_ways(torch.cat(columns, 1) * self.gammas.pairs, classes)

    def _sentence_loss(self, whole: Tensor, sentence: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        lengths = whole.norm(dim=1, keepdim=True) @ sentence.norm(dim=1, keepdim=True).t()
        return self._both_ways(whole @ sentence.t() / lengths.clamp(min=1e-8) * self.gammas.pairs, classes)

    @staticmethod
    def _both_ways(scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        same = (classes[:, None] == classes[None]) & ~torch.eye(len(classes), dtype=torch.bool)
        scores, own = scores.masked_fill(same, -float("inf")), torch.arange(len(scores))
        return F.cross_entropy(scores, own), F.cross_entropy(scores.t(), own)
