from .base import AbstractLeastSquares as AbstractLeastSquares
from .base import LeastSquaresSolution as LeastSquaresSolution
from .frame_cv import FrameCV as FrameCV
from .gram import Gram as Gram
from .lstsq import LSTSQ as LSTSQ
from .qr import QR as QR
from .ridge import RidgePath as RidgePath
from .triangle import Triangle as Triangle
