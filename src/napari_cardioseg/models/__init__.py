"""The networks, in pure torch, each by its name in one registry."""

from napari_cardioseg.models.registry import SegmentationNetwork, build_network, network_names

__all__ = ["SegmentationNetwork", "build_network", "network_names"]
