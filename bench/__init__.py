"""Scripts behind the published figures: `python -m bench.NAME [--quick] [--out DIR]`."""
