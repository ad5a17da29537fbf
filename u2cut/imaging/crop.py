"""The box around the subject."""

import cv2
import numpy as np
import numpy.typing as npt

from u2cut.notation import Margin

_VISIBLE = 0.05  # alpha; networks leave a residue of 1/255 or 2/255 along the photo's edges
_SPECK = 1e-3  # of the subject's area


def subject_box(alpha: npt.NDArray[np.float32], margin: Margin) -> tuple[slice, slice] | None:
    """Find the rows and columns that hold the subject; None if none is visible.

    Residual alpha doesn't count, nor do specks of less than a thousandth of the largest part.

    Args:
        alpha: (H, W) float32 in [0, 1].
        margin: Kept free around the subject, as far as the photo reaches.
    """
    visible = (alpha > _VISIBLE).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(visible)
    parts = stats[1:count]  # 0 is the background
    if not len(parts):
        return None
    areas = parts[:, cv2.CC_STAT_AREA]
    parts = parts[areas >= _SPECK * areas.max()]
    left, top = (int(parts[:, i].min()) for i in (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP))
    right = int((parts[:, cv2.CC_STAT_LEFT] + parts[:, cv2.CC_STAT_WIDTH]).max())
    bottom = int((parts[:, cv2.CC_STAT_TOP] + parts[:, cv2.CC_STAT_HEIGHT]).max())
    pad = margin.pixels(bottom - top, right - left)
    height, width = alpha.shape
    return (
        slice(max(0, top - pad), min(height, bottom + pad)),
        slice(max(0, left - pad), min(width, right + pad)),
    )
