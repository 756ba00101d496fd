// Which instruction sets this build has and this processor runs, and which one is in use.
#include "dispatch.h"

#include <atomic>
#include <stdexcept>

namespace bakeoff {

namespace baseline {
extern const Kernels kernels;
}
#ifdef BAKEOFF_X86
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

namespace {
std::atomic<const Kernels*> chosen{nullptr};
}

std::vector<const Kernels*> available() {
  std::vector<const Kernels*> list{&baseline::kernels};
#ifdef BAKEOFF_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    list.push_back(&avx2::kernels);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) list.push_back(&avx512::kernels);
  }
#endif
  return list;
}

const Kernels& active() {
  const Kernels* kernels = chosen.load();
  if (!kernels) chosen.store(kernels = available().back());
  return *kernels;
}

void use(const std::string& name) {
  std::string names;
  for (const Kernels* kernels : available()) {
    if (name == kernels->name) return chosen.store(kernels);
    names += std::string(names.empty() ? "" : ", ") + kernels->name;
  }
  throw std::invalid_argument("instruction set '" + name + "' is not to be had here; there are: " + names);
}

}  // namespace bakeoff
