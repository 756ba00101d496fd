// The parts of the Python module bakeoff._native.
#pragma once
#include <nanobind/nanobind.h>

void bind_steps(nanobind::module_& m);
