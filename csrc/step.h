// The arguments of the steps: one token of every item through a whole mixer.
//
// All arrays are contiguous float32. Parameters are those that training changes, in the layout it gives them; states
// are changed in place. Shapes: B items, D = d_model, E = width (inner channels), N states, K taps; of heads H, groups
// G, ranks R, P channels a head, S angles; T tokens kept. The order of the pointers is that of the tuples in
// bakeoff.ops.step.
#pragma once
#include <cstdint>

namespace bakeoff {

struct Step {
  int64_t B = 0, D = 0, E = 0;
  int threads = 1;
  const float* x = nullptr;  // (B, D)
  float* y = nullptr;        // (B, D)
};

enum class Rule { exponential, euler, none };  // of discretisation

struct MambaStep : Step {
  int64_t N = 0, K = 0, R = 0;  // R: the rank of dt
  Rule rule = Rule::exponential;
  float *inputs = nullptr, *state = nullptr;                // (B, K - 1, E), (B, E, N)
  const float* in_proj = nullptr;                           // (2 E, D)
  const float *conv_weight = nullptr, *conv_bias = nullptr; // (E, K), (E)
  const float *x_proj = nullptr, *dt_proj = nullptr;        // (R + 2 N, E), (E, R); null if not selective, and then
  const float *fixed_B = nullptr, *fixed_C = nullptr;       // (N) twice
  const float *dt_bias = nullptr, *A_log = nullptr;         // (E), (E, N); A_log is null with the rule `none`
  const float *skip = nullptr, *out_proj = nullptr;         // (E), (D, E)
};

struct Mamba2Step : Step {
  int64_t N = 0, K = 0, H = 0, G = 0;
  float eps = 0.0f;
  float *inputs = nullptr, *state = nullptr;                 // (B, K - 1, C), (B, H, P, N); C = E + 2 G N
  const float* in_proj = nullptr;                            // (E + C + H, D)
  const float *conv_weight = nullptr, *conv_bias = nullptr;  // (C, K), (C)
  const float *dt_bias = nullptr, *A_log = nullptr, *skip = nullptr;  // (H) each
  const float *norm = nullptr, *out_proj = nullptr;          // (E), (D, E)
};

struct Mamba3Step : Step {
  int64_t N = 0, H = 0, G = 0, R = 0, S = 0;
  bool trapezoid = true, heavy_tail = false;
  float eps = 0.0f, slowest = 0.0f;  // the decay rate is `slowest` (below 0) or further from 0
  float *state = nullptr, *k = nullptr, *v = nullptr, *angle = nullptr;  // (B, H, P, N), (B, G, R, N), (B, E), (B, H, S)
  const float* in_proj = nullptr;                       // (2 E + 2 G R N + 2 H + (H if trapezoid) + S, D)
  const float* dt_bias = nullptr;                       // (H)
  const float *B_bias = nullptr, *C_bias = nullptr;     // (H, R, N) or null
  const float *B_norm = nullptr, *C_norm = nullptr;     // (N)
  const float *mimo_x = nullptr, *mimo_z = nullptr, *mimo_o = nullptr;  // (H, R, P), null for one rank
  const float *skip = nullptr, *norm = nullptr, *out_proj = nullptr;    // (H), (E) or null, (D, E)
};

struct AttentionStep : Step {
  int64_t H = 0, G = 0;         // heads of queries; of keys and values
  int64_t T = 0, capacity = 0;  // tokens that the cache holds, and has room for
  bool slides = false;          // the first token leaves the cache as this one enters
  float eps = 0.0f;
  float* cache = nullptr;                              // (2, B, G, capacity, P): keys, values
  const float* turns = nullptr;                        // (2, P / 2): cosines and sines of this place, or null
  const float *qkv = nullptr, *qkv_bias = nullptr;     // (E + 2 G P, D), (E + 2 G P)
  const float *q_norm = nullptr, *k_norm = nullptr;    // (P) or null
  const float *out_proj = nullptr, *out_bias = nullptr;  // (D, E), (D)
};

struct MlpStep : Step {
  const float *gate = nullptr;                          // (E, D): silu(gate x) up x; null: gelu(up x)
  const float *up = nullptr, *up_bias = nullptr;        // (E, D), (E) or null
  const float *down = nullptr, *down_bias = nullptr;    // (D, E), (D) or null
};

struct GruStep : Step {
  float* state = nullptr;                                   // (B, E)
  const float *weight_ih = nullptr, *weight_hh = nullptr;   // (3 E, D), (3 E, E): reset, update, new
  const float *bias_ih = nullptr, *bias_hh = nullptr;       // (3 E) twice
  const float* out_proj = nullptr;                          // (D, E)
};

}  // namespace bakeoff
