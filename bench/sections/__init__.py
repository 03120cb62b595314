"""Sections of the benchmark page: figures and tables for the placeholders of `bench/templates`."""
