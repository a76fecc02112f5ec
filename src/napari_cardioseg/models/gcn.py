"""Global Convolutional Network (Peng et al. 2017, "Large Kernel Matters", arXiv 1703.02719)."""

from __future__ import annotations

from torch import Tensor, nn

from napari_cardioseg.models.blocks import bilinear_upsampling
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.resnet import make_resnet


class GlobalConvolution(nn.Module):
    """Two ways to a k x k field: k x 1 then 1 x k, and the reverse, summed (figure 2B).

    As in the paper, nothing between the two convolutions of a way is non-linear.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        tall, wide = (kernel, 1), (1, kernel)
        self.left = nn.Sequential(_conv(n_in, n_out, tall), _conv(n_out, n_out, wide))
        self.right = nn.Sequential(_conv(n_in, n_out, wide), _conv(n_out, n_out, tall))

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n_out, y, x) score maps."""
        result: Tensor = self.left(x) + self.right(x)
        return result


class BoundaryRefinement(nn.Module):
    """A residual unit on the score map, which moves the objects' borders (figure 2C); starts as identity."""

    def __init__(self, n: int) -> None:
        super().__init__()
        last = _conv(n, n, (3, 3))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.residual = nn.Sequential(_conv(n, n, (3, 3)), nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n, y, x) score maps."""
        result: Tensor = x + self.residual(x)
        return result


class GCN(SegmentationNetwork):
    """A ResNet with a global convolution on each stage, joined from coarse to fine (figure 2A).

    Each stage's score map is refined; from the coarsest on, the sum so far is doubled in size by a learnt
    deconvolution that starts as bilinear, added to the next finer one, and refined again, up to full size.

    Parameters
    ----------
    channels, classes : int
        Channels of the input image; output channels, the background among them.
    backbone : str
        "resnet18", "resnet34", "resnet50" or "resnet101"; 152 layers in the paper.
    kernel : int
        Odd; 15, the paper's best, covers nearly all of a 512 x 512 image's coarsest map.
    width : int
        Of the backbone; see `ResNet`.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        backbone: str = "resnet101",
        kernel: int = 15,
        width: int = 64,
    ) -> None:
        super().__init__()
        if classes < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError("A GCN needs at least one class and an odd, positive kernel size.")
        self.classes = classes
        self.backbone = make_resnet(backbone, channels, width=width)
        self.stride = self.backbone.strides[3]
        self.scores = nn.ModuleList(
            nn.Sequential(GlobalConvolution(n, classes, kernel), BoundaryRefinement(classes))
            for n in self.backbone.widths
        )
        steps = self.stride.bit_length() - 1
        self.upsample = nn.ModuleList(bilinear_upsampling(classes, 2) for _ in range(steps))
        self.refine = nn.ModuleList(BoundaryRefinement(classes) for _ in range(steps))
        # The way over the coarsest stage is the longest. A doubling reads up to two finer pixels away; a
        # refinement, too.
        finer = sum(self.stride >> step for step in range(1, steps + 1))
        self.reach = self.backbone.reaches[3] + self.stride * (kernel // 2 + 2) + (2 + 2) * finer

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        scores = [score(x) for score, x in zip(self.scores, self.backbone(images), strict=True)]
        x: Tensor = scores.pop()
        for upsample, refine in zip(self.upsample, self.refine, strict=True):
            x = upsample(x)
            if scores:
                x = x + scores.pop()
            x = refine(x)
        return x


def _conv(n_in: int, n_out: int, kernel: tuple[int, int]) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, n_out, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    # By the incoming nodes, which are many more than the few classes that go out.
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer
