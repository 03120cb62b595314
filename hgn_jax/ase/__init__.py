"""Learned models as calculators of ASE."""

from .calculator import Calculator as Calculator
