from .gauss_legendre4 import GaussLegendre4 as GaussLegendre4
from .implicit_midpoint import ImplicitMidpoint as ImplicitMidpoint
from .kahan_li8 import KahanLi8 as KahanLi8
from .rattle import Rattle as Rattle
from .stormer_verlet import StormerVerlet as StormerVerlet
from .tao import Tao as Tao
from .yoshida4 import Yoshida4 as Yoshida4
