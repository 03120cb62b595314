"""The sections of the README's figures, each of the records of the benchmarks that it shows."""
