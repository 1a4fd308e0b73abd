"""Linear layers at the speed of the machine."""

import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Linear", "linear"]

_LARGE = 2**23
"""Multiply-adds from which a product gains more than its detour costs."""
_NARROW = 8
"""Outputs below which it gains nothing."""


class Linear(nn.Linear):
    """torch's, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """`(…, K)` to `(…, H)`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, at more than twice the speed where torch multiplies at half the machine's rate.

    On x86 torch leaves products of float32 to MKL, which keeps AVX-512 to processors of its own maker, and
    convolutions to oneDNN, which does not. A linear layer is a convolution whose kernel is one cell wide. Laid out
    channels last, its input is the same memory, so nothing is copied on the way, forward or backward.

    Args:
        x: `(…, K)`.
        weight: `(H, K)`.
        bias: `(H,)`.

    Returns:
        `(…, H)`.
    """
    out, width = weight.shape
    if not (_detour() and _fits(x, out)):
        return functional.linear(x, weight, bias)
    cells = x.reshape(1, -1, 1, width).permute(0, 3, 1, 2)
    found = functional.conv2d(cells, weight.view(out, width, 1, 1), bias)
    return found.permute(0, 2, 3, 1).reshape(*x.shape[:-1], out)


def _fits(x: Tensor, out: int) -> bool:
    # A graph that is exported has to hold the product itself.
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    return plain and out >= _NARROW and x.numel() * out >= _LARGE


@functools.cache
def _detour() -> bool:
    """Whether the convolution is faster: on an AMD processor with AVX-512, if torch has both libraries.

    Without AVX-512 both libraries use AVX2, and the convolution reaches only 0.68 to 0.98 of the linear layer's rate.
    """
    processor = Path("/proc/cpuinfo")
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (both and torch.backends.cpu.get_cpu_capability() == "AVX512" and processor.is_file()):
        return False
    return "AuthenticAMD" in processor.read_text(encoding="utf-8", errors="replace")
