"""The detour by a convolution is torch's own linear layer, and stays out of graphs that are exported."""

import pytest
import torch
from torch.nn import functional

from recsys.nn import linear as module
from recsys.nn.linear import Linear, linear

ROWS, WIDTH, OUT = 4096, 96, 64


@pytest.fixture
def detours(monkeypatch):
    """On any processor; holds the outputs of every layer that took the detour."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    taken = []
    convolved = functional.conv2d

    def counted(cells, kernel, bias):
        taken.append(len(kernel))
        return convolved(cells, kernel, bias)

    monkeypatch.setattr(module, "_detour", lambda: True)
    monkeypatch.setattr(functional, "conv2d", counted)
    return taken


@pytest.mark.parametrize("shape", [(ROWS, WIDTH), (64, 64, WIDTH), (WIDTH, ROWS)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_torch(detours, shape, with_bias):
    torch.manual_seed(0)
    # The last shape is a transposed view, whose rows do not lie side by side.
    x = torch.randn(shape) if shape[-1] == WIDTH else torch.randn(shape).t()
    weight, bias = torch.randn(OUT, WIDTH), torch.randn(OUT) if with_bias else None
    given = [part.detach().requires_grad_() for part in (x, weight, bias) if part is not None]
    slope = torch.randn(*x.shape[:-1], OUT)

    found, expected = linear(*given), functional.linear(*given)
    assert detours == [OUT]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    pairs = zip(torch.autograd.grad(found, given, slope), torch.autograd.grad(expected, given, slope), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "out", "kind"),
    [(64, OUT, torch.float32), (0, OUT, torch.float32), (ROWS * 64, 1, torch.float32), (ROWS, OUT, torch.float64)],
    ids=["few", "none", "narrow", "double"],
)
def test_what_gains_nothing_is_left_to_torch(detours, rows, out, kind):
    layer = Linear(WIDTH, out, dtype=kind)
    x = torch.randn(rows, WIDTH, dtype=kind)
    assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    assert not detours


def test_exported_graphs_hold_a_product(detours):
    rows = torch.export.Dim("rows", min=1)
    layer = Linear(WIDTH, OUT)
    layer(torch.randn(ROWS, WIDTH))
    assert detours == [OUT]
    program = torch.export.export(layer, (torch.randn(ROWS, WIDTH),), dynamic_shapes=({0: rows},))
    assert not [node for node in program.graph.nodes if "conv" in str(node.target)]
    assert detours == [OUT]


@pytest.mark.parametrize(
    ("maker", "capability", "expected"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_convolutions_are_used_on_amd_with_avx512_alone(monkeypatch, tmp_path, maker, capability, expected):
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("torch was built without MKL or oneDNN")
    processor = tmp_path / "cpuinfo"
    processor.write_text(f"vendor_id : {maker}")
    monkeypatch.setattr(module, "Path", lambda _: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert module._detour.__wrapped__() is expected
