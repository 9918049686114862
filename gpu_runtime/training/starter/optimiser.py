"""Muon with AdamW for what Muon does not suit.

Muon orthogonalises the momentum of each weight matrix, which needs about half of AdamW's steps on these small
convolutional networks; steps are what a CPU lacks. Source: Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/ (Newton-Schulz coefficients from there).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ADAM_LR_SHARE = 0.15
"""AdamW's rate as a share of Muon's."""


class MuonAdamW(torch.optim.Optimizer):
    """One optimiser, two rules; each parameter group says which by its `muon` flag."""

    def __init__(self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], lr: float) -> None:
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "steps": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever given here
        for group in self.param_groups:
            group["steps"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rule = self._muon if group["muon"] else self._adamw
                    rule(parameter, parameter.grad, group["lr"], group["steps"])

    def _muon(self, parameter: Tensor, gradient: Tensor, lr: float, steps: int) -> None:
        state = self.state[parameter]
        momentum = state.setdefault("momentum", torch.zeros_like(gradient))
        momentum.lerp_(gradient, 0.05)
        update = orthogonalised(gradient.lerp(momentum, 0.95).flatten(1)).view_as(parameter)
        height, width = parameter.flatten(1).shape
        parameter.mul_(1 - lr * 0.01)
        parameter.add_(update, alpha=-lr * max(1.0, height / width) ** 0.5)

    def _adamw(self, parameter: Tensor, gradient: Tensor, lr: float, steps: int) -> None:
        state = self.state[parameter]
        first = state.setdefault("first", torch.zeros_like(gradient))
        second = state.setdefault("second", torch.zeros_like(gradient))
        first.lerp_(gradient, 0.1)
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        scale = (second / (1 - 0.99**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(first, scale, value=-lr * ADAM_LR_SHARE / (1 - 0.9**steps))


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: five Newton-Schulz steps in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix.bfloat16() if matrix.shape[0] <= matrix.shape[1] else matrix.bfloat16().T
    wide = wide / (wide.float().norm().bfloat16() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).to(matrix.dtype)


def muon_for(modules: Iterable[nn.Module], lr: float, first_and_last: Iterable[nn.Parameter]) -> MuonAdamW:
    """Hidden weight matrices go to Muon; embeddings, vectors and the given outer layers to AdamW."""
    outer = {id(parameter) for parameter in first_and_last}
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for parameter in module.parameters():
            is_hidden = parameter.ndim >= 2 and id(parameter) not in outer | embeddings
            (matrices if is_hidden else others).append(parameter)
    return MuonAdamW(matrices, others, lr)
