"""Figures beside a plain peer, measured in the same run: `python -m tests.benchmarks [ONLY]`. Linux only."""
