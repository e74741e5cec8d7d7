"""Attention by loops in float64: the plainest statement of what every back end must compute.

Written from the definition, query by query, and shares no code with the package, so that a mistake
there cannot hide here.
"""

import math

import torch
from torch import Tensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    kept: Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, D) and log-sum-exp (B, H, T) of float64 inputs, differentiable by autograd.

    kept: (B, H, T, S) bool, the weights that dropout leaves.
    """
    B, T, H, D = q.shape
    S, H_kv = k.shape[1], k.shape[2]
    scale = 1 / math.sqrt(D) if scale is None else scale
    document = [0] * (B * T)
    if cu_seqlens is not None:
        edges = cu_seqlens.tolist()
        document = [sum(edge <= place for edge in edges[1:]) for place in range(B * T)]
    rows, sums = [], []
    for b in range(B):
        for h in range(H):
            kv_head = h // (H // H_kv)
            for i in range(T):
                place = i + S - T
                seen = [
                    j
                    for j in range(S)
                    if (j <= place or not causal)
                    and (window is None or abs(place - j) < window)
                    and (cu_seqlens is None or document[b * T + i] == document[b * T + j])
                    and (key_padding_mask is None or bool(key_padding_mask[b, j]))
                ]
                if not seen and sinks is None:
                    rows.append((q[b, i, h] + k.sum() + v.sum()) * 0)  # zero, but in the graph
                    sums.append(q.new_tensor(-math.inf))
                    continue
                s = k[b, seen, kv_head] @ q[b, i, h] * scale
                if softcap is not None:
                    s = softcap * torch.tanh(s / softcap)
                if alibi_slopes is not None:
                    s = s - alibi_slopes[h].double() * torch.tensor(
                        [abs(place - j) for j in seen], dtype=torch.float64
                    )
                logits = s if sinks is None else torch.cat([s, sinks[h].double().view(1)])
                lse = torch.logsumexp(logits, 0)
                p = torch.exp(s - lse)
                if kept is not None:
                    p = p * kept[b, h, i, seen] / (1 - dropout_p)
                rows.append(p @ v[b, seen, kv_head])
                sums.append(lse)
    out = torch.stack(rows).view(B, H, T, D).transpose(1, 2)
    return out, torch.stack(sums).view(B, H, T)
