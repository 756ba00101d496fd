// The arguments of the kernels (raw pointers, strides, shapes), and the table of kernels of one instruction set.
//
// Shapes: B batch, L tokens, D channels, N states, K taps, C chunks of tokens; of the state space dual form also G
// groups of queries and keys, H heads, R ranks, P channels a head.
#pragma once
#include <cstdint>

#include "fused.h"
#include "step.h"
#include "view.h"

namespace bakeoff {

// The kernels walk the sequence in chunks; backward recomputes one chunk at a time from the stored state before it.
// A longer chunk stores fewer states but needs larger buffers: with 28 tokens, backward's (BackwardScratch) take
// 19 KiB at eight lanes, which fits a first-level cache of 32 KiB, and 37 KiB at sixteen, which fits one of 48 KiB.
// The image sequences of 196 tokens are seven whole chunks.
constexpr int kChunk = 28;
// A work item is one sample and kGroup channels for any number of threads, so that sums keep their order.
constexpr int kGroup = 128;
// Rows of states are stored padded to a multiple of the widest vector, whichever instruction set runs.
constexpr int kPad = 16;
constexpr int kMaxTaps = 8;
// Rows of a chunk of the state space dual form at most, a token counting once for each rank.
constexpr int64_t kSsdRows = 64;
// The state space dual form shares a group's heads among several work items until there are so many.
constexpr int64_t kItems = 2;

constexpr int64_t parts_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
constexpr int64_t padded(int64_t n) { return parts_of(n, kPad) * kPad; }
constexpr int64_t chunks(int64_t L) { return parts_of(L, kChunk); }

// Tokens of a chunk of the state space dual form: as few chunks as kSsdRows allows, of equal length.
constexpr int64_t ssd_tokens(int64_t L, int64_t R) { return parts_of(L, parts_of(L * R, kSsdRows)); }
constexpr int64_t ssd_chunks(int64_t L, int64_t R) { return parts_of(L, ssd_tokens(L, R)); }
// Heads of a work item. They depend on the shape alone, so that sums keep their order on any number of threads.
constexpr int64_t ssd_heads(int64_t B, int64_t G, int64_t H) {
  const int64_t wanted = parts_of(kItems, B ? B * G : G), heads = H / G;
  return parts_of(heads, wanted < heads ? wanted : heads);
}

struct Scan {
  int64_t B = 0, L = 0, D = 0, N = 0;
  View u, dt, Bm, Cm, z;          // z may be absent
  const float* A = nullptr;       // (D, N)
  const float* skip = nullptr;    // (D) or null
  const float* bias = nullptr;    // (D) or null
  bool softplus = true, reverse = false;
  int threads = 1;
};

struct ScanForward : Scan {
  View y;
  const float* initial = nullptr;  // (B, D, N) or null
  float* final = nullptr;          // (B, D, N) or null
  float* states = nullptr;         // (B, C, padded(D), N) as lane() has it: the state before each chunk; or null
  float* ungated = nullptr;        // (B, L, D): y before the gate; or null
};

struct ScanBackward : Scan {
  View dy;
  const float* states = nullptr;
  const float* ungated = nullptr;   // null without z
  const float* dfinal = nullptr;    // (B, D, N) or null
  View du, ddt, dBm, dCm, dz;       // dz absent without z
  float* dA = nullptr;              // (D, N)
  float* dskip = nullptr;           // (D) or null
  float* dbias = nullptr;           // (D) or null
  float* dinitial = nullptr;        // (B, D, N) or null
};

struct Conv {
  int64_t B = 0, L = 0, D = 0;
  int K = 0;
  View x;
  const float* weight = nullptr;  // (D, K)
  const float* bias = nullptr;    // (D) or null
  bool silu = true, reverse = false;
  int threads = 1;
};

struct ConvForward : Conv {
  View y;
};

struct ConvBackward : Conv {
  View dy, dx;
  float* dweight = nullptr;  // (D, K)
  float* dbias = nullptr;    // (D) or null
};

struct Ssd {
  int64_t B = 0, L = 0, G = 0, H = 0, R = 0, N = 0, P = 0;
  View q, k, v;                             // (B, L, G R N) twice, (B, L, H R P)
  const float *log_decay = nullptr, *w = nullptr, *g = nullptr;  // (B, L, H)
  bool reverse = false;
  int threads = 1;

  int64_t seen(int64_t row) const { return R == 1 ? row + 1 : (row / R + 1) * R; }  // rows that a row of a chunk sees
};

struct SsdForward : Ssd {
  View y;                          // (B, L, H R P)
  const float* initial = nullptr;  // (B, H, P, N) or null
  float* final = nullptr;          // (B, H, P, N) or null
  float* states = nullptr;         // (B, C - 1, H, P, padded(N)): the state before each chunk but the first; or null
};

struct SsdBackward : Ssd {
  View dy;
  const float* states = nullptr;
  const float* dfinal = nullptr;   // (B, H, P, N) or null
  View dq, dk, dv;                 // dq and dk of every part of a group's heads, `part` elements apart: add them up
  int64_t part = 0;
  float *dlog_decay = nullptr, *dw = nullptr, *dg = nullptr;  // (B, L, H)
  const float* initial = nullptr;  // (B, H, P, N) or null: what forward was given
  float* dinitial = nullptr;       // (B, H, P, N) or null
};

struct Steps {
  void (*mamba)(const MambaStep&);
  void (*mamba2)(const Mamba2Step&);
  void (*mamba3)(const Mamba3Step&);
  void (*attention)(const AttentionStep&);
  void (*mlp)(const MlpStep&);
  void (*gru)(const GruStep&);
};

struct Kernels {
  const char* name;
  int lanes;
  void (*scan_forward)(const ScanForward&);
  void (*scan_backward)(const ScanBackward&);
  void (*conv_forward)(const ConvForward&);
  void (*conv_backward)(const ConvBackward&);
  void (*ssd_forward)(const SsdForward&);
  void (*ssd_backward)(const SsdBackward&);
  Steps steps;
  Fused fused;
  double (*probe)(int64_t rounds);  // multiply-adds done, one per lane, at the peak rate; see probe.inl
};

}  // namespace bakeoff
