"""What the advice says, as code that stands on its own.

``vgharness check --remedies`` runs it on copies of a model, and prints it for the user to paste. Each part needs torch
alone, and those parts that :mod:`vgharness.check.remedies` lists it with.
"""

import torch
from torch import nn


def initialise_he(model: nn.Module) -> None:
    """He's normal weights for ReLU in linear and convolution layers (He et al. 2015), zero biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_glorot(model: nn.Module) -> None:
    """Glorot's uniform weights in linear and convolution layers (Glorot and Bengio 2010), zero biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_orthogonal(model: nn.Module, gain: float) -> None:
    """Orthogonal weights times ``gain`` in linear and convolution layers (Saxe et al. 2014), zero biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            nn.init.orthogonal_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_recurrent(model: nn.Module) -> None:
    """Orthogonal weights from state to state in recurrent layers, Glorot's from the input, zero biases; 1 for the
    forget gate of an LSTM (Jozefowicz et al. 2015)."""
    for layer in model.modules():
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            size = layer.hidden_size
            for name, parameter in layer.named_parameters(recurse=False):
                if name.startswith("weight_hh"):
                    for gate in parameter.data.chunk(len(parameter) // size):
                        nn.init.orthogonal_(gate)
                elif name.startswith("weight_ih"):
                    for gate in parameter.data.chunk(len(parameter) // size):
                        nn.init.xavier_uniform_(gate)
                elif name.startswith("bias"):
                    nn.init.zeros_(parameter)
                    if name.startswith("bias_ih") and isinstance(layer, nn.LSTM | nn.LSTMCell):
                        parameter.data[size : 2 * size] = 1


def open_gates(model: nn.Module, bias: float) -> None:
    """Sets the biases of the gates that keep the state: an LSTM's forget gate, a GRU's update gate."""
    for layer in model.modules():
        if isinstance(layer, nn.LSTM | nn.LSTMCell | nn.GRU | nn.GRUCell):
            kept = slice(layer.hidden_size, 2 * layer.hidden_size)  # the second gate of either
            for name, parameter in layer.named_parameters(recurse=False):
                if name.startswith("bias"):
                    parameter.data[kept] = bias if name.startswith("bias_ih") else 0


def replace_with_gru(model: nn.Module, names: list[str]) -> None:
    """Replaces plain recurrent layers with GRUs of the same sizes, which are called in the same way."""
    for name in names:
        old = model.get_submodule(name)
        weight = next(old.parameters())
        new: nn.Module
        if isinstance(old, nn.RNN):
            new = nn.GRU(
                old.input_size,
                old.hidden_size,
                old.num_layers,
                bias=old.bias,
                batch_first=old.batch_first,
                dropout=old.dropout,
                bidirectional=old.bidirectional,
            )
        else:
            assert isinstance(old, nn.RNNCell)
            new = nn.GRUCell(old.input_size, old.hidden_size, bias=old.bias)
        model.set_submodule(name, new.to(weight))


def replace_with_relu(model: nn.Module, names: list[str]) -> None:
    """Replaces activations with ReLU."""
    for name in names:
        model.set_submodule(name, nn.ReLU())


def replace_with_gelu(model: nn.Module, names: list[str]) -> None:
    """Replaces activations with GELU."""
    for name in names:
        model.set_submodule(name, nn.GELU())


def replace_with_leaky_relu(model: nn.Module, names: list[str]) -> None:
    """Replaces activations with a ReLU that lets a tenth of the gradient through where it is off."""
    for name in names:
        model.set_submodule(name, nn.LeakyReLU(0.1))


def add_layer_norm(model: nn.Module, names: list[str]) -> None:
    """Puts a LayerNorm after each of the linear layers, and a GroupNorm of one group after convolutions."""
    for name in names:
        layer = model.get_submodule(name)
        norm: nn.Module
        if isinstance(layer, nn.Linear):
            norm = nn.LayerNorm(layer.out_features)
        else:
            assert isinstance(layer, nn.modules.conv._ConvNd)
            norm = nn.GroupNorm(1, layer.out_channels)
        model.set_submodule(name, nn.Sequential(layer, norm.to(layer.weight)))


def add_batch_norm(model: nn.Module, names: list[str]) -> None:
    """Puts a BatchNorm after each of the layers."""
    of_convolutions = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    for name in names:
        layer = model.get_submodule(name)
        norm: nn.Module
        if isinstance(layer, nn.Linear):
            norm = nn.BatchNorm1d(layer.out_features)
        else:
            assert isinstance(layer, nn.modules.conv._ConvNd)
            norm = of_convolutions[len(layer.kernel_size)](layer.out_channels)
        model.set_submodule(name, nn.Sequential(layer, norm.to(layer.weight)))


class Residual(nn.Module):
    """Adds what ``branch`` makes of the input to the input."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.branch(x)
        return x + y


def add_residuals(model: nn.Module, names: list[tuple[str, str]]) -> None:
    """Puts a residual connection around each of the layers: around it and the activation that is called right after
    it, where a name of one is given too."""
    for layer, activation in names:
        if activation:
            block = nn.Sequential(model.get_submodule(layer), model.get_submodule(activation))
            model.set_submodule(layer, nn.Identity())
            model.set_submodule(activation, Residual(block))
        else:
            model.set_submodule(layer, Residual(model.get_submodule(layer)))
