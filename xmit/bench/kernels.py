"""Cases of single parts: batches, the embedding's update, scoring, search, span F1, and overhead on the host."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmit.bench.models import VOCABULARY, encoder, lengths, packed, padded
from xmit.bench.timing import NO_BF16, Result, compare, interleave
from xmit.hardware import CPU, computes_bf16, peak_flops


def batching(quick: bool) -> Iterator[Result]:
    """Forward and backward of a packed batch against padded ones, two layers, fp32, dropout on."""
    model = encoder()
    model.embeddings.requires_grad_(False)
    for data, size, longest in (("mnli", 16, 128), ("squad", 4, 384)):
        n = 4 if quick else 8
        sizes = lengths(data, n * size).reshape(n, size)
        batches = [(padded(own, longest), padded(own, int(own.max())), own.tolist()) for own in sizes]
        model.eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            side, _, own = batches[0]
            model.set_attn_implementation("sdpa")
            real = side["attention_mask"].bool()
            wrong = (packed(model, own, side) - model(**side).last_hidden_state)[real].abs().max().item()
        model.train()
        failed = f"packed and padded states differ by {wrong:.1e}" if wrong > 1e-5 else ""

        def padding(sides: list[dict[str, Tensor]]) -> None:
            model.set_attn_implementation("sdpa")
            for side in sides:
                model(**side).last_hidden_state[:, 0].sum().backward()

        def packing(batches: list[tuple[dict[str, Tensor], dict[str, Tensor], list[int]]]) -> None:
            for _, dynamic, own in batches:
                packed(model, own, dynamic)[:, 0].sum().backward()  # type: ignore[no-untyped-call]

        variants: dict[str, Callable[[], object]] = {
            "padmax": partial(padding, [side for side, _, _ in batches]),
            "dynamic": partial(padding, [side for _, side, _ in batches]),
            "packed": partial(packing, batches),
        }
        times = {} if failed else interleave(variants, 2 if quick else 5)
        gates = {"packed_mnli_vs_padmax": 2.6, "packed_mnli_vs_dynamic": 1.8, "packed_squad_vs_padmax": 2.1}
        for case, gate in gates.items():
            if f"_{data}_" in case:
                peer = case.rpartition("_")[2]
                note = f"{data.upper()} lengths, batches of {size}, 2 layers, fp32, forward and backward"
                yield Result(case, gate, failed=failed) if failed else compare(case, gate, times, peer, "packed", note)


def optim(quick: bool) -> Iterator[Result]:
    """The embedding's backward, clipping and AdamW: 40,000 rows in use against all 250,002 of XLM-R base."""
    from xmit.modules.compact_embedding import CompactEmbedding, follow_decay
    from xmit.modules.optimizer import clip_by_norm

    rows = np.unique(np.append(np.random.default_rng(0).choice(VOCABULARY, 40_000, replace=False), 1))
    whole = nn.Embedding(VOCABULARY, 768, padding_idx=1)
    compact = CompactEmbedding(whole, rows)
    ids = torch.from_numpy(np.random.default_rng(1).choice(rows, (32, 45)))
    failed = "" if torch.equal(whole(ids), compact(ids)) else "the compact embedding gives other vectors"
    if wrong := _compact_error():
        failed = wrong
    upstream = torch.randn(32, 45, 768)

    def updates(words: nn.Module, own: bool) -> Callable[[], None]:
        body = [nn.Parameter(torch.zeros(768, 3072)) for _ in range(36)]  # 85 million parameters in twelve layers
        for part in body:
            part.grad = torch.full_like(part, 1e-3)
        parts = [*body, *words.parameters()]
        optimizer = torch.optim.AdamW(parts, 1e-5, fused=True)
        if own:
            follow_decay(words, optimizer)  # type: ignore[arg-type]

        def update() -> None:
            for part in words.parameters():
                part.grad = None
            words(ids).backward(upstream)
            if own:
                clip_by_norm(optimizer, 1.0)
            else:
                nn.utils.clip_grad_norm_(parts, 1.0)
            optimizer.step()

        return update

    note = "embedding backward, clipping, fused AdamW; 85 M body, 192 M embedding, 40,000 rows in use"
    if failed:
        yield Result("compact_update", 4, failed=failed)
    else:
        times = interleave({"dense": updates(whole, False), "compact": updates(compact, True)}, 3 if quick else 9)
        yield compare("compact_update", 4, times, "dense", "compact", note)


def _compact_error(steps: int = 60) -> str:
    """Train a small model on all rows and on those in use; what is wrong, if anything."""
    from xmit.modules.compact_embedding import CompactEmbedding, follow_decay
    from xmit.modules.optimizer import clip_by_norm

    torch.manual_seed(0)
    rows = np.arange(1, 300, 7)
    models = [nn.ModuleList([nn.Embedding(400, 16, padding_idx=1), nn.Linear(16, 3)])]
    models.append(copy.deepcopy(models[0]))
    compact = models[1][0] = CompactEmbedding(models[1][0], rows)  # type: ignore[arg-type]
    optimizers = [torch.optim.AdamW(m.parameters(), 1e-2, weight_decay=0.1, fused=True) for m in models]
    follow_decay(compact, optimizers[1])
    for _ in range(steps):
        ids, labels = torch.from_numpy(np.random.choice(rows, (8, 5))), torch.randint(3, (8,))  # noqa: NPY002
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model[1](model[0](ids).mean(1)), labels).backward()  # type: ignore[no-untyped-call]
            if model is models[1]:
                clip_by_norm(optimizer, 0.5)
            else:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    wrong = (compact.table() - models[0][0].weight).abs().max().item()  # type: ignore[operator]
    return f"compact and dense embeddings differ by {wrong:.1e} after {steps} updates" if wrong > 1e-5 else ""


def evaluation(quick: bool) -> Iterator[Result]:
    """Eight languages: one sorted stream in bf16 against one language after the other in fp32, batches of 8."""
    from xmit.data.batching import EvaluationStream

    if not computes_bf16(CPU):
        yield Result("eval_multilingual_bf16", 3, note=NO_BF16)
        return
    model = encoder(12)
    model.eval()  # type: ignore[no-untyped-call]
    peer = copy.deepcopy(model)  # which stays transformers' own
    sizes = np.concatenate(
        [np.clip(lengths("mnli", 8 if quick else 48, code) * factor, 8, 128).astype(np.int64)
         for code, factor in enumerate(np.linspace(1, 1.7, 8))]
    )  # fmt: skip
    batch = padded(sizes, int(sizes.max()))
    stream = list(EvaluationStream(sizes, 1024))
    per_language = len(sizes) // 8
    plain = [
        list(range(start, min(start + 8, code * per_language + per_language)))
        for code in range(8)
        for start in range(code * per_language, (code + 1) * per_language, 8)
    ]

    @torch.inference_mode()
    def score(batches: list[list[int]], bf16: bool) -> Tensor:
        found = torch.empty(len(sizes), 768)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for items in batches:
                width = int(sizes[items].max())
                side = {name: value[items, :width] for name, value in batch.items()}
                own = side["attention_mask"].sum(1).tolist()
                first = packed(model, own, side, first=True) if bf16 else peer(**side).last_hidden_state
                found[items] = first[:, 0].float()
        return found

    cosine = F.cosine_similarity(score(plain, False), score(stream, True)).min().item()
    if cosine < 0.999:
        yield Result("eval_multilingual_bf16", 3, failed=f"bf16 states have a cosine of {cosine:.4f} with fp32's")
        return
    times = interleave(
        {"hf": lambda: score(plain, False), "stream": lambda: score(stream, True)}, 3 if quick else 5
    )  # fmt: skip
    note = f"8 languages, {len(sizes)} examples, 12 layers, the first token's states; least cosine {cosine:.5f}"
    yield compare("eval_multilingual_bf16", 3, times, "hf", "stream", note)


def retrieval(quick: bool) -> Iterator[Result]:
    """The four nearest in both directions, 8,000 by 8,000 vectors of 768, against faiss' flat index."""
    import faiss

    from xmit.tasks.nearest import top_k_both

    n = 8000
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(768, generator=generator)
    x = F.normalize(torch.randn(n, 768, generator=generator) + mean, dim=1)
    y = F.normalize(x + 0.04 * torch.randn(n, 768, generator=generator), dim=1)
    faiss.omp_set_num_threads(1)

    def peer() -> list[Tensor]:
        found = []
        for queries, candidates in ((x, y), (y, x)):
            index = faiss.IndexFlatIP(768)
            index.add(candidates.numpy())
            found.append(torch.from_numpy(index.search(queries.numpy(), 4)[1]))
        return found

    same = [(a == b[1]).float().mean().item() for a, b in zip(peer(), top_k_both(x, y, 4), strict=True)]
    if min(same) < 0.999:
        yield Result("topk_vs_faiss", 1.4, failed=f"only {min(same):.4f} of the neighbours are faiss'")
        return
    times = interleave({"faiss": peer, "own": lambda: top_k_both(x, y, 4)}, 3 if quick else 7)
    yield compare("topk_vs_faiss", 1.4, times, "faiss", "own", f"{n:,} x {n:,}, k=4, both directions; {min(same):.2%}")


def metrics(quick: bool) -> Iterator[Result]:
    """Span F1 of 10,000 sentences against seqeval."""
    import random

    from seqeval.metrics import f1_score

    from xmit.metrics.span_f1 import span_f1

    draw = random.Random(0)
    tags = [f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "ORG", "LOC")] + ["O"] * 8
    gold = [[draw.choice(tags) for _ in range(draw.randint(4, 24))] for _ in range(10_000)]
    pred = [[tag if draw.random() < 0.8 else draw.choice(tags) for tag in sentence] for sentence in gold]
    theirs, ours = float(f1_score(gold, pred)), span_f1(pred, gold)["f1"]
    if abs(theirs - ours) > 1e-8:
        yield Result("span_f1_vs_seqeval", 20, failed=f"F1 is {ours}, seqeval's {theirs}")
        return
    times = interleave({"seqeval": lambda: f1_score(gold, pred), "own": lambda: span_f1(pred, gold)}, 15)
    yield compare("span_f1_vs_seqeval", 20, times, "seqeval", "own", "10,000 sentences, 140,000 tokens")


def host(quick: bool) -> Iterator[Result]:
    """What a step of the trainer costs beside its forward, backward and update: a tiny encoder, with and without it."""
    from xmit.bench.ours import fit_steps, raw_steps

    steps = 200 if quick else 600
    rounds = [(fit_steps(steps), raw_steps(steps)) for _ in range(3)]
    overhead = sorted(trainer - raw for trainer, raw in rounds)[1] * 1000
    medians = {"trainer": sorted(t for t, _ in rounds)[1], "raw": sorted(r for _, r in rounds)[1]}
    note = f"milliseconds a step over a bare loop, {steps} steps of a tiny encoder, batches built, clipped, logged"
    yield Result("host_overhead_ms", 1.2, overhead, len(rounds), at_most=True, medians=medians, note=note)


def gpu(quick: bool) -> Iterator[Result]:
    """Useful tokens' share of the GPU's peak: XLM-R large, bf16, packed, 5,000 and 16,000 tokens an update."""
    if not torch.cuda.is_available():
        yield Result("mfu", 0.35, note="not measured: no CUDA device")
        return
    name = torch.cuda.get_device_name()
    peak = peak_flops(name)
    if peak is None:
        yield Result("mfu", 0.35, note=f"not measured: the peak of {name} is not known, see xmit.hardware.PEAKS")
        return
    model = encoder(24, VOCABULARY, large=True)
    model.cuda()  # type: ignore[call-arg]
    model.embeddings.word_embeddings.requires_grad_(False)
    body = sum(p.numel() for p in model.encoder.parameters())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-5, fused=True)
    shares = {}
    for tokens in (5_000, 16_000):
        sizes = lengths("squad", 2 * tokens // 170)
        sizes = sizes[: int(np.searchsorted(sizes.cumsum(), tokens))]
        side = {name: value.cuda() for name, value in padded(sizes, int(sizes.max()), VOCABULARY).items()}

        own = sizes.tolist()

        def update(side: dict[str, Tensor] = side, own: list[int] = own) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                loss = packed(model, own, side)[:, 0].float().pow(2).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        for _ in range(5):
            update()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            update()
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / 20
        flops = 6 * body * float(sizes.sum()) + 12 * 24 * 1024 * float((sizes**2).sum())
        shares[f"{tokens} tokens"] = flops / seconds / peak
    memory = torch.cuda.max_memory_allocated() / 2**30
    note = f"of {peak / 1e12:.0f} TFLOP/s, {name}, peak {memory:.1f} GiB; at 16,000 tokens the gate is .42"
    yield Result("mfu", 0.35, shares["5000 tokens"], 20, medians=shares, note=note)
