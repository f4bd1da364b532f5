"""Paper A, image denoising that meets high-level vision [liu2018denoising], and its baselines."""
