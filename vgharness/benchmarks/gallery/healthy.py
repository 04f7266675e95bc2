"""The healthy models: ordinary architectures that train, in which nothing is to be found."""

from __future__ import annotations

from functools import partial
from typing import Final

import torchvision
from torch import nn

from vgharness.benchmarks.gallery.cases import (
    Case,
    classification,
    each_word,
    images,
    real_or_fake,
    reconstruction,
    same_class,
    sequences,
    vectors,
    words,
)
from vgharness.benchmarks.gallery.networks import (
    LowRank,
    Residual,
    Tagger,
    Transformer,
    Translator,
    UNet,
    UnrolledCell,
    chain,
    frozen_backbone,
    kaiming,
    scaled,
)
from vgharness.models import DeepCNN

HEALTHY: Final = (
    Case("resnet18", lambda: torchvision.models.resnet18(num_classes=10), images, classification),
    Case("mobilenet_v2", lambda: torchvision.models.mobilenet_v2(num_classes=10), images, classification),
    Case(
        "squeezenet", lambda: torchvision.models.squeezenet1_1(num_classes=10), partial(images, size=48), classification
    ),
    Case("densenet", lambda: torchvision.models.DenseNet(8, (2, 2, 2), 16, num_classes=10), images, classification),
    Case("shufflenet", lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), images, classification),
    Case("4-layer CNN", lambda: DeepCNN("relu"), images, classification),
    Case("4-layer CNN, script", lambda: DeepCNN("relu", pools="script"), images, classification),
    Case("sigmoid CNN with BatchNorm", lambda: DeepCNN("sigmoid", norm="batch"), images, classification),
    Case("GELU CNN", lambda: DeepCNN("gelu", depth=3), images, classification),
    Case(
        "LeNet with tanh",
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        ),
        images,
        classification,
    ),
    Case("kaiming MLP", lambda: kaiming(chain((20, *[64] * 8, 10), nn.ReLU)), vectors, classification),
    Case("MLP with dropout", lambda: chain((20, 64, 64, 10), nn.ReLU, nn.Dropout), vectors, classification),
    Case(
        "pre-norm residual MLP of 50 blocks",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            *(Residual(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(50)),
            nn.LayerNorm(32),
            nn.Linear(32, 10),
        ),
        vectors,
        classification,
    ),
    Case(
        "residual MLP that starts closed",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            *(Residual(nn.Linear(32, 32), nn.ReLU(), scaled(nn.Linear(32, 32), 0.0)) for _ in range(3)),
            nn.Linear(32, 10),
        ),
        vectors,
        classification,
    ),
    Case("TransformerEncoder", Transformer, words, each_word),
    Case("TransformerEncoder, pre-norm, 6 layers", lambda: Transformer(6, norm_first=True), words, each_word),
    Case("tied language model", lambda: Transformer(2, norm_first=True, tied=True), words, each_word),
    Case("LSTM tagger", lambda: Tagger(nn.LSTM), words, each_word),
    Case("GRU tagger", lambda: Tagger(nn.GRU), words, each_word),
    Case("U-Net", UNet, images, reconstruction),
    Case("siamese towers", lambda: chain((20, 64, 32), nn.ReLU), vectors, same_class),
    Case(
        "autoencoder, in place",
        lambda: chain((20, 32, 8, 32, 20), partial(nn.ReLU, inplace=True)),
        vectors,
        reconstruction,
    ),
    Case("frozen backbone", frozen_backbone, vectors, classification),
    Case(
        "discriminator",
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 1, 8),
            nn.Flatten(),
        ),
        images,
        real_or_fake,
    ),
    Case("orthogonal recurrent cell", lambda: UnrolledCell("linear", 1.2), sequences, classification),
    Case("encoder and decoder", Translator, words, each_word),
    Case(
        "LoRA",
        lambda: nn.Sequential(LowRank(20, 32), nn.ReLU(), LowRank(32, 32), nn.ReLU(), LowRank(32, 10)),
        vectors,
        classification,
    ),
)
