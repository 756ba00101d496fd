"""Flow matching: the path from noise (t = 0) to data (t = 1), its objective, and solvers for its ODE."""

from bakeoff.flow.objective import draw_times, flow_loss
from bakeoff.flow.path import interpolate, target_velocity
from bakeoff.flow.solver import Guided, Trajectory, solve

__all__ = ["Guided", "Trajectory", "draw_times", "flow_loss", "interpolate", "solve", "target_velocity"]
