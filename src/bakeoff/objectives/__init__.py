"""Flow matching: the path from noise (t = 0) to data (t = 1), its objective, its floor, and solvers for its ODE."""

from bakeoff.objectives._cuda_graph import CapturedSolves
from bakeoff.objectives.floor import Floor, memoriser_floor
from bakeoff.objectives.flow import draw_times, flow_loss
from bakeoff.objectives.path import interpolate, target_velocity
from bakeoff.objectives.solver import Guided, Trajectory, solve, states

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
