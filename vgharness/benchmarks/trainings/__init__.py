"""Small trainings, twelve that go wrong at a known step and place and twelve healthy ones, on which any watch can be
tried.

>>> from vgharness.benchmarks.trainings import WRONG
>>> WRONG[0].run(vgharness.watch)
"""

from __future__ import annotations

from typing import Final

from vgharness.benchmarks.trainings import healthy, wrong_layers, wrong_values
from vgharness.benchmarks.trainings.cases import EVERY, Label, Training, Variant

WRONG: Final = (
    Training("NaN in the forward pass", wrong_values.nan_forward, wrong_values.nan_forward_label),
    Training("NaN in the backward pass", wrong_values.nan_backward, wrong_values.nan_backward_label),
    Training("explosion through time", wrong_values.exploding, wrong_values.exploding_label),
    Training("unlucky batch", wrong_values.unlucky_batch, wrong_values.unlucky_batch_label),
    Training("learning rate too high", wrong_values.rate_too_high, wrong_values.rate_too_high_label),
    Training("loss scale that collapses", wrong_values.loss_scale, wrong_values.loss_scale_label),
    Training("layer that dies", wrong_layers.dies, wrong_layers.dies_label),
    Training("layer the optimizer lacks", wrong_layers.forgotten, wrong_layers.forgotten_label),
    Training("branch detached", wrong_layers.detached, wrong_layers.detached_label),
    Training("sigmoid that saturates", wrong_layers.saturates, wrong_layers.saturates_label),
    Training("embedding that stops", wrong_layers.stops, wrong_layers.stops_label),
    Training("GAN, discriminator too good", wrong_layers.overpowered, wrong_layers.overpowered_label),
)
HEALTHY: Final = (
    Training("warm-up and cosine to zero", healthy.warm_up_and_cosine),
    Training("heavy-tailed batches", healthy.heavy_tails),
    Training("unfreezing", healthy.unfreezing),
    Training("accumulation, label noise", healthy.accumulation),
    Training("GAN that works", healthy.gan),
    Training("CNN, BatchNorm and dropout", healthy.convolutions),
    Training("LSTM with clipping", healthy.recurrent),
    Training("Transformer in bfloat16", healthy.language_model),
    Training("loss scale, first steps skipped", healthy.scaler),
    Training("idle experts", healthy.idle_experts),
    Training("branches that start closed", healthy.closed_branches),
    Training("resumed, rare words", healthy.resumed),
)

__all__ = ["EVERY", "HEALTHY", "WRONG", "Label", "Training", "Variant"]
