"""The training loss: deep supervision of the fused map and the six side outputs.

The paper's loss (section 3.3, equation 1) is the sum of seven binary cross-entropies with all
weights 1. The IoU and SSIM terms are u2cut's, after BASNet (Qin et al., CVPR 2019, section 3.3).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over the valid pixels of each photo, then over photos.

    The average is taken per photo so that photos divided among processes weigh the same as in
    one batch.

    Args:
        logits: (B, 1, H, W) float32.
        truth: Mask in [0, 1], same shape.
        valid: 1 where the truth is known, 0 elsewhere, same shape.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * valid
    return _photo_mean(pixels, valid)


def iou_loss(probability: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """One minus the soft intersection over union (BASNet, equation 6), mean over photos."""
    p, t = probability * valid, truth * valid
    both = (p * t).sum(dim=(1, 2, 3))
    either = (p + t - p * t).sum(dim=(1, 2, 3))
    return (1 - (both + 1) / (either + 1)).mean()  # +1 pixel: an empty pair is a perfect one


def ssim_loss(probability: Tensor, truth: Tensor, valid: Tensor, window: int = 11) -> Tensor:
    """One minus the structural similarity (BASNet, equation 5), over a box window, halved.

    Args:
        probability: (B, 1, H, W) in [0, 1].
        truth: Same shape.
        valid: Same shape; windows around unknown pixels see the truth in both maps.
        window: Side of the window in pixels.
    """
    p = probability * valid + truth * (1 - valid)

    def blur(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, window, stride=1)

    mp, mt = blur(p), blur(truth)
    vp, vt = blur(p * p) - mp * mp, blur(truth * truth) - mt * mt
    cov = blur(p * truth) - mp * mt
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2 * mp * mt + c1) * (2 * cov + c2)) / ((mp * mp + mt * mt + c1) * (vp + vt + c2))
    return ((1 - ssim) / 2).mean()


def _photo_mean(pixels: Tensor, valid: Tensor) -> Tensor:
    return (pixels.sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)).clamp_min(1)).mean()


def total_loss(
    outputs: Sequence[Tensor],
    truth: Tensor,
    valid: Tensor,
    *,
    weights: Sequence[float],
    iou: float = 0.0,
    ssim: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Add up the terms.

    Args:
        outputs: Logits of the fused map and side outputs 1 to 6, each (B, 1, H, W).
        truth: Mask in [0, 1], (B, 1, H, W).
        valid: 1 where the truth is known, (B, 1, H, W).
        weights: Weights of the seven cross-entropies, in the outputs' order.
        iou: Weight of the IoU term on the fused map.
        ssim: Weight of the SSIM term on the fused map.

    Returns:
        The loss, and the seven cross-entropies, detached, (7,).
    """
    terms = [cross_entropy(o.float(), truth, valid) for o in outputs]
    loss = torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum()
    if iou or ssim:
        fused = torch.sigmoid(outputs[0].float())
        if iou:
            loss = loss + iou * iou_loss(fused, truth, valid)
        if ssim:
            loss = loss + ssim * ssim_loss(fused, truth, valid)
    return loss, torch.stack(terms).detach()
