"""The project's own CUDA kernels: compiled, kept, loaded, launched, and chosen or not."""
