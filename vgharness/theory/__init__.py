"""What theory says about gradients: the standard that measurements are compared with."""

from vgharness.records import LayerTheory, ModelTheory
from vgharness.theory.activations import FUNCTIONS, ActivationFunction, activation_of
from vgharness.theory.bounds import Bound, bound, operator_norm_bound
from vgharness.theory.layerwise import of
from vgharness.theory.mean_field import chi, chi_batchnorm, chi_of_layers, chi_of_model, mean_field_factors

__all__ = [
    "FUNCTIONS",
    "ActivationFunction",
    "Bound",
    "LayerTheory",
    "ModelTheory",
    "activation_of",
    "bound",
    "chi",
    "chi_batchnorm",
    "chi_of_layers",
    "chi_of_model",
    "mean_field_factors",
    "of",
    "operator_norm_bound",
]
