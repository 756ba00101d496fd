"""Flow matching: the path from noise (t = 0) to data (t = 1), its objective, its floor, and solvers for its ODE."""

from bakeoff.flow.captured import CapturedSolves
from bakeoff.flow.floor import Floor, memoriser_floor
from bakeoff.flow.objective import draw_times, flow_loss
from bakeoff.flow.path import interpolate, target_velocity
from bakeoff.flow.solver import Guided, Trajectory, solve, states

__all__ = [
    "CapturedSolves",
    "Floor",
    "Guided",
    "Trajectory",
    "draw_times",
    "flow_loss",
    "interpolate",
    "memoriser_floor",
    "solve",
    "states",
    "target_velocity",
]
