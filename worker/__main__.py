"""`python -m worker`: the `troth` command, also where its script is not on PATH."""

from worker.cli import main

main()
