"""Write the map of an image to a file: ``python write_map_file.py IMAGE MAPS.npz``."""

import sys

import cv2
import numpy as np


def my_network(rgb):
    """Stand-in for your network: (H, W, 3) in [0, 1] -> (D, H', W'), here one cell per 8 x 8 px.

    Yours may run in any framework on any machine: only its output is needed here.
    """
    height, width = rgb.shape[0] // 8 * 8, rgb.shape[1] // 8 * 8
    blocks = rgb[:height, :width].reshape(height // 8, 8, width // 8, 8, 3)
    cells = blocks - blocks.mean(axis=(1, 3), keepdims=True)
    return cells.transpose(1, 3, 4, 0, 2).reshape(8 * 8 * 3, height // 8, width // 8)


image_path, map_path = sys.argv[1:]
bgr = cv2.imread(image_path)
rgb = bgr[:, :, ::-1].astype(np.float32) / 255
np.savez(
    map_path,
    values=my_network(rgb),  # (D, H', W'); normalised to unit length on reading
    stride_px=8.0,  # distance between cells in pixels of `rgb`
    offset_px=3.5,  # centre of cell 0: pixels 0 to 7, the first pixel's centre being 0
    image_size_px=(rgb.shape[1], rgb.shape[0]),  # (width, height) of `rgb`
)
