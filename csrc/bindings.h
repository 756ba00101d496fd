// What the parts of the Python module bakeoff._native share: how it is told of arrays and sequences.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <tuple>

#include "view.h"

using Address = uintptr_t;  // 0 for an absent array
using PyView = std::optional<std::tuple<Address, int64_t, int64_t, bool>>;  // batch and row strides, is bfloat16

inline float* floats(Address address) { return reinterpret_cast<float*>(address); }

inline bakeoff::View view(const PyView& v) {
  if (!v) return {};
  auto [address, batch, row, bf16] = *v;
  return {reinterpret_cast<void*>(address), batch, row, bf16};
}

void bind_fused(nanobind::module_& m);
void bind_steps(nanobind::module_& m);
