// The arguments of what stands around mixers, and around the state space dual form in a mixer, each one pass over memory.
//
// Shapes: D channels, B batch, L tokens, G groups of queries and keys, H heads, R ranks, P channels a head, E = H P, N states,
// S angles a head. Sequences are (B, L, ...) with contiguous tokens; null or absent means that a part is not there.
#pragma once
#include <cstdint>

#include "view.h"

namespace bakeoff {

// out = normed(x) factor + shift, normed over the channels of a token: (x - mean) / deviation if centred, else x / rms
struct Norm {
  int64_t B = 0, L = 0, D = 0;
  int threads = 1;
  bool centred = true;
  float eps = 0.0f;
  View x, factor;  // (B, L, D), (B, 1, D)
};

struct NormForward : Norm {
  View shift, out;  // (B, 1, D) or absent
};

struct NormBackward : Norm {
  View dout, dx;
  float *dfactor = nullptr, *dshift = nullptr;  // (B, D), the second null without a shift
};

// out = x + gate y
struct Residual {
  int64_t B = 0, L = 0, D = 0;
  int threads = 1;
  View y, gate;  // (B, L, D), (B, 1, D)
};

struct ResidualForward : Residual {
  View x, out;
};

struct ResidualBackward : Residual {
  View dout, dy;
  float* dgate = nullptr;  // (B, D)
};

// out = norm(sum_r of_r (y_r + D in_r x) silu(by_r z))
struct Gate {
  int64_t B = 0, L = 0, H = 0, R = 0, P = 0, groups = 1;
  int threads = 1;
  float eps = 0.0f;
  View y, x, z;                   // (H, R, P), (H, P) or absent, (H, P)
  const float* skip = nullptr;    // D: (H); null without x
  const float *in = nullptr, *by = nullptr, *of = nullptr;  // (H, R, P); null with one rank
  const float* norm = nullptr;    // weight (E) of an RMSNorm over each of `groups` groups of channels, or null
};

struct GateForward : Gate {
  View out;  // (E)
};

struct GateBackward : Gate {
  View dout, dy, dx, dz;
  float *dskip = nullptr, *din = nullptr, *dby = nullptr, *dof = nullptr, *dnorm = nullptr;
};

// Queries or keys of attention: each head's RMSNorm, then pairs of channels i and i + P/2 turned by the token's place.
struct Heads {
  int64_t B = 0, L = 0, H = 0, P = 0;
  int threads = 1;
  float eps = 0.0f;
  View x;                                            // (H, P)
  const float* norm = nullptr;                       // (P) or null
  const float *cosines = nullptr, *sines = nullptr;  // (L, P / 2) or null
};

struct HeadsForward : Heads {
  View out;  // (H, P)
};

struct HeadsBackward : Heads {
  View dout, dx;
  float* dnorm = nullptr;  // (P), null without a norm
};

// The queries and keys of every head, from those of its group: with the head's bias, their first S pairs turned.
struct Turn {
  int64_t B = 0, L = 0, G = 0, H = 0, R = 0, N = 0, S = 0;
  int threads = 1;
  const float* angle = nullptr;  // (B, L, H, S)
};

struct TurnForward : Turn {
  View q, k;                                         // (G, R, N)
  const float *q_bias = nullptr, *k_bias = nullptr;  // (H, R, N) or null
  View q_turned, k_turned;                           // (H, R, N), float32
};

struct TurnBackward : Turn {
  View q_turned, k_turned;                   // what forward gave
  View dq_turned, dk_turned, dq, dk;
  float *dq_bias = nullptr, *dk_bias = nullptr, *dangle = nullptr;
};

// The values of each rank: v_r = scale_r x.
struct Ranks {
  int64_t B = 0, L = 0, H = 0, R = 0, P = 0;
  int threads = 1;
  View x;                         // (H, P)
  const float* scale = nullptr;   // (H, R, P)
};

struct RanksForward : Ranks {
  View v;  // (H, R, P)
};

struct RanksBackward : Ranks {
  View dv, dx;
  float* dscale = nullptr;
};

struct Fused {
  void (*norm_forward)(const NormForward&);
  void (*norm_backward)(const NormBackward&);
  void (*residual_forward)(const ResidualForward&);
  void (*residual_backward)(const ResidualBackward&);
  void (*gate_forward)(const GateForward&);
  void (*gate_backward)(const GateBackward&);
  void (*heads_forward)(const HeadsForward&);
  void (*heads_backward)(const HeadsBackward&);
  void (*turn_forward)(const TurnForward&);
  void (*turn_backward)(const TurnBackward&);
  void (*ranks_forward)(const RanksForward&);
  void (*ranks_backward)(const RanksBackward&);
};

}  // namespace bakeoff
