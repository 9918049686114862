"""`python -m gpu_runtime.training.starter`: see `cli.py`."""

from gpu_runtime.training.starter.cli import main

if __name__ == "__main__":
    main()
