"""Scripts behind the figures of the README: `python -m bench.NAME [--quick] [--out DIR]`."""
