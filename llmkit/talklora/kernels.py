"""The rank-space step as Triton kernels: from latents to gated, scaled features, one launch forward, two backward; and
for few rows without gradients a whole branch, with A and B, in one launch.

n experts of rank m; h_i is expert i's part of the latents, or all of them where A is shared; float32 inside.

    R_i = sum_j C_ji W_j    (n, m)   the router over untalked latents, made again by every program
    g   = softmax(sum_i R_i h_i)     or the softmax of given logits
    v_i = s g_i keep_i E_i h_i

A program has BT rows of the batch. n and m are padded to powers of two, NP and MP. Where m is 16 or more, the experts'
products use `tl.dot`, which takes no smaller ones. A pointer that is None is a part that the adapter lacks. The number
of rows is no part of a kernel's key, so that batches of all lengths share one.
"""

# Triton reads the source of these functions: no docstrings in them, and no annotations but tl.constexpr.
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import triton
import triton.language as tl


@triton.jit
def product(x, y, DOT: tl.constexpr, PRECISION: tl.constexpr = "ieee"):
    if DOT:
        result = tl.dot(x, y, input_precision=PRECISION)
    else:
        result = tl.sum(x[:, :, None] * y[None, :, :], 1)
    return result


@triton.jit
def softmax(logits, is_real):
    logits = tl.where(is_real, logits, float("-inf"))
    weights = tl.exp(logits - tl.max(logits, 1)[:, None])
    return weights / tl.sum(weights, 1)[:, None]


@triton.jit
def column(values, i, NP: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, NP)[None, :] == i, values, 0.0), 1)


@triton.jit
def load_rows(ptr, rows, stride, first, count, T, width: tl.constexpr):
    columns = tl.arange(0, width)[None, :]
    mask = (rows[:, None] < T) & (columns < count)
    return tl.load(ptr + rows[:, None] * stride + first + columns, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_rows(ptr, values, rows, stride, first, count, T, width: tl.constexpr):
    columns = tl.arange(0, width)[None, :]
    mask = (rows[:, None] < T) & (columns < count)
    tl.store(ptr + rows[:, None] * stride + first + columns, values, mask=mask)


@triton.jit
def load_router(W, C, i, c, is_real, r, n: tl.constexpr, m: tl.constexpr, NP: tl.constexpr):
    # The columns of latents c of experts i, one of which may be the same for all.
    a, j = tl.arange(0, NP), tl.arange(0, NP)
    if C is None:
        mask = (a[:, None] < n) & is_real[None, :]
        router = tl.load(W + a[:, None] * r + (i * m + c)[None, :], mask=mask, other=0.0).to(tl.float32)
    else:
        mask = (a[:, None, None] < n) & (j[None, :, None] < n) & is_real[None, None, :]
        offsets = a[:, None, None] * r + j[None, :, None] * m + c[None, None, :]
        over_talked = tl.load(W + offsets, mask=mask, other=0.0).to(tl.float32)
        talk = tl.load(C + j[:, None] * n + (i + 0 * c)[None, :], mask=(j[:, None] < n) & is_real[None, :], other=0.0)
        router = tl.sum(over_talked * talk.to(tl.float32)[None, :, :], 1)
    return router


@triton.jit
def load_square(E, i, row_stride, column_stride, m: tl.constexpr, MP: tl.constexpr):
    a, b = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]
    offsets = i * m * m + a * row_stride + b * column_stride
    return tl.load(E + offsets, mask=(a < m) & (b < m), other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["T"])
def forward(
    h, logits, E, W, C, keep, v, g, T, h_stride, logits_stride, scale,
    n: tl.constexpr, m: tl.constexpr, SHARED: tl.constexpr, NP: tl.constexpr, MP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    blocks: tl.constexpr = 1 if SHARED else n
    if logits is None:
        scores = tl.zeros((BT, NP), tl.float32)
        for i in range(blocks):
            latents = load_rows(h, rows, h_stride, i * m, m, T, MP)
            router = load_router(W, C, i, tl.arange(0, MP), tl.arange(0, MP) < m, blocks * m, n, m, NP)
            scores += tl.sum(latents[:, None, :] * router[None, :, :], 2)
    else:
        scores = load_rows(logits, rows, logits_stride, 0, n, T, NP)
    gates = softmax(scores, tl.arange(0, NP)[None, :] < n)
    store_rows(g, gates, rows, n, 0, n, T, NP)
    if keep is not None:
        gates *= load_rows(keep, rows, n, 0, n, T, NP)
    gates *= scale
    for i in range(n):
        latents = load_rows(h, rows, h_stride, 0 if SHARED else i * m, m, T, MP)
        if E is not None:
            latents = product(latents, load_square(E, i, 1, m, m, MP), MP >= 16)  # E_i transposed
        store_rows(v, latents * column(gates, i, NP)[:, None], rows, n * m, i * m, m, T, MP)


@triton.jit(do_not_specialize=["T"])
def backward(
    h, E, W, C, keep, v, g, dv, dg, dh, dlogits, partial, T, h_stride, scale,
    n: tl.constexpr, m: tl.constexpr, SHARED: tl.constexpr, NP: tl.constexpr, MP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    experts = tl.arange(0, NP)
    blocks: tl.constexpr = 1 if SHARED else n
    r: tl.constexpr = blocks * m
    size_of_E: tl.constexpr = 0 if E is None else n * m * m
    size_of_R: tl.constexpr = 0 if W is None else n * r
    partial += tl.program_id(0).to(tl.int64) * (size_of_E + size_of_R)
    gates = load_rows(g, rows, n, 0, n, T, NP)
    # g_i times the gradient of g_i: v_i holds g_i as a factor, so nothing is divided by a gate that may be 0.
    weighted = tl.zeros((BT, NP), tl.float32)
    for i in range(n):
        features = load_rows(v, rows, n * m, i * m, m, T, MP)
        gradient = load_rows(dv, rows, n * m, i * m, m, T, MP)
        weighted += tl.where(experts[None, :] == i, tl.sum(features * gradient, 1)[:, None], 0.0)
    if dg is not None:
        weighted += gates * load_rows(dg, rows, n, 0, n, T, NP)
    dscores = weighted - gates * tl.sum(weighted, 1)[:, None]
    if dlogits is not None:
        store_rows(dlogits, dscores, rows, n, 0, n, T, NP)
    if keep is not None:
        gates *= load_rows(keep, rows, n, 0, n, T, NP)
    gates *= scale
    dlatents = tl.zeros((BT, MP), tl.float32)
    for i in range(n):
        du = load_rows(dv, rows, n * m, i * m, m, T, MP) * column(gates, i, NP)[:, None]
        if E is not None:
            latents = load_rows(h, rows, h_stride, 0 if SHARED else i * m, m, T, MP)
            a, b = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]
            dE = product(tl.trans(du), latents, MP >= 16)
            tl.store(partial + i * m * m + a * m + b, dE, mask=(a < m) & (b < m))
            du = product(du, load_square(E, i, m, 1, m, MP), MP >= 16)
        if SHARED:
            dlatents += du
        else:
            if W is not None:
                du += router_gradients(h, W, C, dscores, partial + size_of_E, rows, h_stride, i, r, T, n, m, NP, MP)
            store_rows(dh, du, rows, r, i * m, m, T, MP)
    if SHARED:
        if W is not None:
            dlatents += router_gradients(h, W, C, dscores, partial + size_of_E, rows, h_stride, 0, r, T, n, m, NP, MP)
        store_rows(dh, dlatents, rows, r, 0, m, T, MP)


@triton.jit
def router_gradients(
    h, W, C, dscores, dR, rows, h_stride, i, r, T,
    n: tl.constexpr, m: tl.constexpr, NP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    latents = load_rows(h, rows, h_stride, i * m, m, T, MP)
    a, c = tl.arange(0, NP)[:, None], tl.arange(0, MP)[None, :]
    of_this_block = tl.sum(dscores[:, :, None] * latents[:, None, :], 0)  # (NP, MP)
    tl.store(dR + a * r + i * m + c, of_this_block, mask=(a < n) & (c < m))
    router = load_router(W, C, i, tl.arange(0, MP), tl.arange(0, MP) < m, r, n, m, NP)
    return tl.sum(dscores[:, :, None] * router[None, :, :], 1)


@triton.jit(do_not_specialize=["programs"])
def sum_partial(
    partial, W, C, dE, dW, dC, programs,
    n: tl.constexpr, m: tl.constexpr, SHARED: tl.constexpr, NP: tl.constexpr, MP: tl.constexpr,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    # Programs 0 to CHUNKS - 1 sum dE, one more the router's gradient, from which dW and dC follow.
    blocks: tl.constexpr = 1 if SHARED else n
    r: tl.constexpr = blocks * m
    size_of_E: tl.constexpr = 0 if dE is None else n * m * m
    size: tl.constexpr = size_of_E + (0 if dW is None else n * r)
    if tl.program_id(0) < CHUNKS:
        if dE is not None:
            at = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
            of_experts = tl.zeros((CHUNK,), tl.float32)
            for first in range(0, programs, 16):
                program = (first + tl.arange(0, 16))[:, None]
                mask = (program < programs) & (at[None, :] < size_of_E)
                of_experts += tl.sum(
                    tl.load(partial + program.to(tl.int64) * size + at[None, :], mask=mask, other=0.0), 0
                )
            tl.store(dE + at, of_experts, mask=at < size_of_E)
    else:
        if dW is not None:
            JP: tl.constexpr = 1 if SHARED else NP
            flat = tl.arange(0, NP * JP * MP)
            a, j, c = flat // (JP * MP), flat // MP % JP, flat % MP
            is_real = (a < n) & (j < blocks) & (c < m)
            of_router = tl.zeros((NP * JP * MP,), tl.float32)
            for begin in range(0, programs, TOGETHER):
                sharer = (begin + tl.arange(0, TOGETHER))[:, None]
                places = sharer.to(tl.int64) * size + size_of_E + (a * r + j * m + c)[None, :]
                present = (sharer < programs) & is_real[None, :]
                of_router += tl.sum(tl.load(partial + places, mask=present, other=0.0), 0)
            if C is None:
                tl.store(dW + a * r + j * m + c, of_router, mask=is_real)
            else:
                by_expert = tl.reshape(of_router, (NP, JP, MP))
                experts, inner = tl.arange(0, NP), tl.arange(0, MP)
                mask = (experts[:, None] < n) & (inner[None, :] < m)
                for i in range(n):
                    talk = tl.load(C + i * n + experts, mask=experts < n, other=0.0).to(tl.float32)
                    offsets = experts[:, None] * r + i * m + inner[None, :]
                    tl.store(dW + offsets, tl.sum(by_expert * talk[None, :, None], 1), mask=mask)
                    row = tl.load(W + offsets, mask=mask, other=0.0).to(tl.float32)
                    from_row = tl.sum(tl.sum(by_expert * row[:, None, :], 2), 0)
                    tl.store(dC + i * n + experts, from_row, mask=experts < n)


@triton.jit
def times_transposed(
    x, weight, rows, T, d, x_stride, count: tl.constexpr,
    BT: tl.constexpr, BD: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    # x (T, d) times weight (count, d) transposed, BD inputs at a time.
    outputs = tl.arange(0, WIDTH)[None, :]
    total = tl.zeros((BT, WIDTH), tl.float32)
    for first in range(0, d, BD):
        at = first + tl.arange(0, BD)
        mask = (rows[:, None] < T) & (at[None, :] < d)
        inputs = tl.load(x + rows[:, None] * x_stride + at[None, :], mask=mask, other=0.0)
        mask = (at[:, None] < d) & (outputs < count)
        weights = tl.load(weight + outputs * d + at[:, None], mask=mask, other=0.0)
        total += of_weights(inputs, weights, BT >= 16)
    return total


@triton.jit
def of_weights(x, weights, DOT: tl.constexpr):
    # What has 16 bits fits into tf32, so that product is exact as well, and fast.
    precision: tl.constexpr = "ieee" if weights.dtype == tl.float32 else "tf32"
    return product(x.to(weights.dtype).to(tl.float32), weights.to(tl.float32), DOT, precision)


@triton.jit(do_not_specialize=["T"])
def branch(
    x, y, A, E, W, C, B, out, T, d, k, x_stride, y_stride, scale,
    n: tl.constexpr, m: tl.constexpr, SHARED: tl.constexpr, READS_INPUT: tl.constexpr,
    NP: tl.constexpr, RP: tl.constexpr, FP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    # Every program has BK of the outputs, and makes the latents of its rows by itself: none waits for another.
    rows = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    r: tl.constexpr = m if SHARED else n * m
    latent, feature = tl.arange(0, RP), tl.arange(0, FP)
    h = times_transposed(x, A, rows, T, d, x_stride, r, BT, BD, RP)
    if READS_INPUT:
        scores = times_transposed(x, W, rows, T, d, x_stride, n, BT, BD, NP)
    else:
        router = load_router(W, C, latent // m, latent % m, latent < r, r, n, m, NP)
        scores = product(h, tl.trans(router), BT >= 16)
    gates = softmax(scores, tl.arange(0, NP)[None, :] < n) * scale
    is_own = (latent[:, None] < r) & (feature[None, :] < n * m)
    if not SHARED:
        is_own = is_own & (latent[:, None] // m == feature[None, :] // m)
    inner = latent[:, None] % m
    if E is None:
        experts = (is_own & (inner == feature[None, :] % m)).to(tl.float32)
    else:
        experts = tl.load(E + feature[None, :] * m + inner, mask=is_own, other=0.0).to(tl.float32)
    expert = tl.broadcast_to(tl.minimum(feature // m, n - 1)[None, :], (BT, FP))
    v = product(h, experts, BT >= 16) * tl.gather(gates, expert, 1)
    column = (tl.program_id(1) * BK + tl.arange(0, BK))[None, :]
    mask = (column < k) & (feature[:, None] < n * m)
    up = tl.load(B + column * (n * m) + feature[:, None], mask=mask, other=0.0)
    added = of_weights(v, up, BT >= 16)
    mask = (rows[:, None] < T) & (column < k)
    before = tl.load(y + rows[:, None] * y_stride + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + rows[:, None] * k + column, before + added, mask=mask)
