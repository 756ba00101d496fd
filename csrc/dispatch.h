// Which instruction sets this build has and this processor runs, and which one is in use.
#pragma once
#include <string>
#include <vector>

#include "api.h"

namespace bakeoff {

std::vector<const Kernels*> available();  // slowest first; the baseline is always among them
const Kernels& active();                  // the last of available() until use() says otherwise
void use(const std::string& name);        // throws std::invalid_argument for a name not available

}  // namespace bakeoff
