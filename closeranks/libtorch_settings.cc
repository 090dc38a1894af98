#include "closeranks/libtorch_settings.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

namespace closeranks {

void SetUpLibtorch(int threads, uint64_t seed) {
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  torch::manual_seed(seed);
}

}  // namespace closeranks
