"""The simulated device keeps CUDA's rules, and what it notes is right."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from cuda import autocast
from cuda.device import Device, DeviceAssert, NotArrived, SimulatedTensor
from cuda.ledger import BLOCKS, CHUNK, kernels


@pytest.fixture
def device():
    with Device() as made:
        yield made


def ones(*shape):
    return torch.ones(*shape, device="cuda")


# -- rules -------------------------------------------------------------------------------------------------


def test_tensors_of_two_devices_never_meet(device):
    assert (ones(3) + torch.tensor(1.0)).device == torch.device("cuda", 0)  # a number is an argument of the kernel
    for meet in (
        lambda: ones(3) + torch.ones(3),
        lambda: torch.ones(2, 3) @ ones(3),
        lambda: F.embedding(torch.tensor([1]), ones(3, 2)),
        lambda: torch.ones(3)[torch.tensor([0], device="cuda")],
        lambda: ones(4).index_copy_(0, torch.tensor([0]), ones(1)),
        lambda: F.scaled_dot_product_attention(ones(1, 1, 2, 8), ones(1, 1, 2, 8), torch.ones(1, 1, 2, 8)),
    ):
        with pytest.raises(RuntimeError, match="device"):
            meet()


def test_numpy_and_pinning_are_for_the_host(device):
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy"):
        ones(3).numpy()
    with pytest.raises(RuntimeError, match=r"cannot pin 'torch\.cuda\.FloatTensor'"):
        ones(3).pin_memory()
    assert torch.ones(3).pin_memory()[1:].is_pinned()
    assert not torch.ones(3).is_pinned()


def test_a_generator_belongs_to_its_device(device):
    with pytest.raises(RuntimeError, match="'cuda' device type for generator but found 'cpu'"):
        torch.randn(2, device="cuda", generator=torch.Generator())
    assert torch.randn(2, device="cuda", generator=torch.Generator("cuda")).is_cuda
    with torch.device("cuda"), pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, generator=torch.Generator())


def test_a_default_device_is_the_home_of_what_is_made(device):
    with torch.device("cuda:0"):
        made = [torch.zeros(2), torch.tensor([1]), torch.as_tensor([1]), torch.nn.Linear(2, 2).weight, torch.arange(3)]
        with torch.device("cpu"):
            assert torch.tensor([1]).device.type == "cpu"
        with torch.device("meta"):
            assert torch.nn.Linear(2, 2).weight.is_meta
    assert {str(own.device) for own in made} == {"cuda:0"}


def test_an_index_that_is_not_there_is_a_device_assert(device):
    far = torch.tensor([7], device="cuda")
    for reach in (
        lambda: F.embedding(far, ones(3, 2)),
        lambda: ones(3)[far],
        lambda: ones(3).index_select(0, far),
        lambda: ones(3).gather(0, far),
        lambda: F.cross_entropy(ones(1, 3), far),
    ):
        with pytest.raises(DeviceAssert, match="device-side assert"):
            reach()
    with pytest.raises(IndexError, match="Dimension out of range"):
        ones(3).sum(4)


def test_autocast_is_cudas(device):
    x, layer = ones(2, 4), torch.nn.Linear(4, 4, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        low = layer(x)
        assert low.dtype == torch.bfloat16
        assert low.softmax(-1).dtype == low.exp().dtype == F.layer_norm(low, (4,)).dtype == torch.float32
        assert F.gelu(low).dtype == torch.bfloat16
        assert (low @ low.T).dtype == torch.bfloat16
    assert layer(x).dtype == torch.float32
    lists = autocast.lists()
    assert {"linear", "matmul", "scaled_dot_product_attention"} <= set(lists["LOWER_PRECISION_FP"])
    assert {"layer_norm", "pow.Tensor_Scalar"} <= set(lists["FP32"])
    assert sum(map(len, lists.values())) > 100


def test_autocast_casts_a_weight_once(device):
    x, layer = ones(2, 4), torch.nn.Linear(4, 4, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        layer(x)
        before = device.launches["-", "aten::_to_copy"]
        layer(x.bfloat16())
        assert device.launches["-", "aten::_to_copy"] == before + 1  # of x


# -- notes -------------------------------------------------------------------------------------------------


def waits(device):
    return [own.what for own in device.waits]


def test_what_the_host_waits_for_is_noted(device):
    x, mask = ones(3), torch.tensor([True, False, True], device="cuda")
    device.clear()
    x.sum().item()
    x.cpu()
    x[mask]
    mask.nonzero()
    x.tolist()
    torch.ones(3).to("cuda")
    torch.cuda.synchronize()
    bool(mask.any())
    assert waits(device) == [
        "item", "device to host", "mask as index", "nonzero.default", "tolist", "host to device, blocking",
        "synchronize", "item",
    ]  # fmt: skip
    assert all("test_what_the_host_waits_for_is_noted" in own.line for own in device.waits)


def test_what_does_not_wait_is_not_noted(device):
    x, mask = ones(3), torch.tensor([True, False, True], device="cuda")
    device.clear()
    x[mask] = 0.0  # CUDA fills by the mask
    torch.nonzero_static(mask, size=3)
    torch.where(mask, x, 0.0)
    torch.ones(2).pin_memory().to("cuda", non_blocking=True)
    x.repeat_interleave(torch.tensor([1, 1, 2], device="cuda"), output_size=4)
    assert waits(device) == ["host to device, blocking"]  # of the repeats
    assert [(own.pinned, own.blocking, own.size) for own in device.uploads] == [(True, False, 8), (False, True, 24)]


def test_a_copy_that_nobody_waited_for_cannot_be_read(device):
    there = ones(3).to("cpu", non_blocking=True)
    assert (waits(device), [own.size for own in device.copies]) == ([], [12])
    with pytest.raises(NotArrived):
        there.sum()
    assert bool(torch.tensor(there.numpy()).isnan().all())
    torch.cuda.synchronize()
    assert there.tolist() == [1.0, 1.0, 1.0]
    pageable = torch.zeros(3)
    pageable.copy_(ones(3), non_blocking=True)  # which CUDA cannot do behind the host's back
    assert pageable.tolist() == [1.0, 1.0, 1.0]
    assert waits(device)[-1] == "device to host"


def test_memory_counts_each_storage_once_for_as_long_as_it_lives(device):
    x = ones(1000)
    view, twice = x[10:], x * 2
    assert (device.live_bytes, torch.cuda.memory_allocated()) == (8000, 8000)
    del x
    assert device.live_bytes == 8000
    del view, twice
    assert (device.live_bytes, device.peak_bytes) == (0, 8000)
    device.reset_peak()
    assert device.peak_bytes == 0


def test_a_backward_pass_holds_what_autograd_saves(device):
    x = ones(1000).requires_grad_()
    y = x.exp().exp()  # saves both results
    assert device.live_bytes == 12000
    del y
    assert device.live_bytes == 4000


def test_kernels_are_counted_by_operator(device):
    x = ones(4, 4)
    device.clear()
    x.view(16)[2:].sum()
    torch.empty(3, device="cuda")
    x.T.contiguous()
    assert {name for _, name in device.launches} == {"aten::sum", "aten::clone"}
    assert device.launched() == 2


def test_multi_tensor_kernels_take_so_many_chunks_and_tensors(device):
    for shape, n, launches in (((4,), 110, 1), ((4,), 111, 2), ((CHUNK, BLOCKS), 1, 1), ((CHUNK, BLOCKS + 1), 1, 2)):
        tensors = [torch.empty(1, device="cuda").expand(shape) for _ in range(n)]
        assert kernels(torch.ops.aten._foreach_mul_.Scalar, (tensors, 2.0), {}) == launches, shape


def test_fused_adamw_and_its_clipping_run_as_on_a_gpu(device):
    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    twin = copy.deepcopy(layers)
    layers.to("cuda")
    for model, x in ((layers, ones(2, 4)), (twin, torch.ones(2, 4))):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        for _ in range(3):
            device.clear()
            model(x).pow(2).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if x.is_cuda:
                assert device.launches["-", "aten::_fused_adamw_"] == 1
                assert device.launches["-", "aten::_foreach_mul_.Tensor"] == 1
                assert not device.waits
    for one, other in zip(layers.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.detach().cpu(), other.detach())


# -- attention ---------------------------------------------------------------------------------------------


def packed(dtype=torch.bfloat16, size=8, tokens=5):
    q, k, v = (torch.randn(tokens, 2, size).to("cuda", dtype).requires_grad_() for _ in range(3))
    return q, k, v, torch.tensor([0, 2, 5], dtype=torch.int32).to("cuda")


def test_sdpa_is_one_kernel_with_the_cpus_numbers(device):
    q, k, v = (torch.randn(2, 2, 5, 8) for _ in range(3))
    mask = torch.randn(2, 1, 5, 5)
    there = [part.to("cuda").requires_grad_() for part in (q, k, v)]
    here = [part.clone().requires_grad_() for part in (q, k, v)]
    device.clear()
    out = F.scaled_dot_product_attention(*there, attn_mask=mask.to("cuda"))
    assert device.launched() == 1
    expected = F.scaled_dot_product_attention(*here, attn_mask=mask)
    out.sum().backward()
    expected.sum().backward()
    assert torch.equal(out.detach().cpu(), expected.detach())
    for one, other in zip(there, here, strict=True):
        torch.testing.assert_close(one.grad.cpu(), other.grad)


def test_dropout_of_attention_is_the_same_in_the_backward_pass(device):
    q = torch.randn(1, 1, 6, 8, device="cuda", requires_grad=True)
    v = torch.eye(6, device="cuda").requires_grad_()[None, None]
    state = torch.get_rng_state()
    out = F.scaled_dot_product_attention(q, q, v, dropout_p=0.5)
    kept = out.detach().cpu()[0, 0] != 0
    grads = []
    for row in range(6):
        (grad,) = torch.autograd.grad(out[0, 0, row].sum(), v, retain_graph=True)
        grads.append(grad.cpu()[0, 0, :, 0] != 0)
    assert torch.equal(torch.stack(grads), kept)
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["flash_attn", "varlen"])
def test_packed_attention_is_attention_within_each_sequence(kind):
    with Device(flash_attn=True) as device:
        q, k, v, ends = packed()
        if kind == "varlen":
            from torch.nn.attention.varlen import varlen_attn

            out = varlen_attn(q, k, v, ends, ends, 3, 3)
        else:
            from flash_attn import flash_attn_varlen_func

            out = flash_attn_varlen_func(q, k, v, ends, ends, 3, 3)
        for a, b in ((0, 2), (2, 5)):
            own = [part[a:b].transpose(0, 1)[None] for part in (q, k, v)]
            expected = F.scaled_dot_product_attention(*own)[0].transpose(0, 1)
            torch.testing.assert_close(out[a:b].cpu(), expected.cpu())
        out.float().sum().backward()
        assert v.grad.cpu().abs().min() > 0
        assert device.attention_calls[0] == ("flash_attn" if kind == "flash_attn" else "varlen_attn")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": torch.float32}, "fp16 and bf16"),
        ({"size": 12}, "multiple of 8"),
        ({"size": 264}, "at most 256"),
        ({"offsets": torch.int64}, "int32"),
        ({"longest": 2}, "do not fit"),
        ({"longest": torch.tensor(3)}, "must be an int"),
        ({"tokens": 6}, "do not fit"),
        ({"capability": (7, 5)}, "Ampere"),
        ({"host": True}, "must be on CUDA"),
        ({"strided": True}, "contiguous last dimension"),
    ],
)
def test_flash_attention_refuses_what_it_does_not_know(change, message):
    with Device(flash_attn=True, capability=change.get("capability", (8, 0))):
        from flash_attn import flash_attn_varlen_func

        parts = {name: value for name, value in change.items() if name in ("dtype", "size", "tokens")}
        q, k, v, ends = packed(**parts)
        ends = ends.to(change.get("offsets", torch.int32))
        ends = ends.cpu() if "host" in change else ends
        if "strided" in change:
            v = v.transpose(1, 2).contiguous().transpose(1, 2)
        longest = change.get("longest", 3)
        with pytest.raises(RuntimeError, match=message):
            flash_attn_varlen_func(q, k, v, ends, ends, longest, longest)


def test_threads_can_move_tensors_to_the_device(device):
    """transformers loads weights in threads."""
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: torch.ones(3).to("cuda")).result()
    assert there.is_cuda
    assert device.live_bytes == 12


# -- what torch is told ------------------------------------------------------------------------------------


def test_torch_believes_in_the_device_and_afterwards_no_more():
    before = torch.cuda.is_available()
    with Device(capability=(7, 0), bf16=False, index=1, count=2):
        assert torch.cuda.is_available()
        assert torch.cuda.get_device_capability() == (7, 0)
        assert not torch.cuda.is_bf16_supported(including_emulation=False)
        assert (torch.cuda.device_count(), torch.cuda.current_device()) == (2, 1)
        x = torch.ones(2, device="cuda")
        assert x.device == torch.device("cuda", 1)
        with pytest.raises(RuntimeError, match="computes on cuda:1"):
            torch.ones(2, device="cuda:0")
    assert torch.cuda.is_available() == before
    assert (x * 2).tolist() == [2.0, 2.0]  # what was made still works


def test_inference_mode_is_simulated_too(device):
    x = torch.ones(3).pin_memory()
    with torch.inference_mode():
        y = x.to("cuda", non_blocking=True)
        z = F.linear(y[None], ones(2, 3)).to("cpu", non_blocking=True)
    assert ([own.size for own in device.uploads], [own.size for own in device.copies]) == ([12], [8])
    with pytest.raises(NotArrived):
        z.sum()


def test_mps_knows_no_float64():
    with Device(kind="mps"):
        assert torch.ones(2, device="mps").device == torch.device("mps", 0)
        with pytest.raises(TypeError, match="float64"):
            torch.ones(2, dtype=torch.float64, device="mps")
        assert isinstance(torch.ones(2, device="mps"), SimulatedTensor)
