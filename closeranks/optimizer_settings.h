// What an optimizer was made with, for the handshake to compare: where it differs between ranks,
// the same gradients make different weights.
#ifndef CLOSERANKS_CLOSERANKS_OPTIMIZER_SETTINGS_H_
#define CLOSERANKS_CLOSERANKS_OPTIMIZER_SETTINGS_H_

#include <torch/optim/optimizer.h>

#include <string>

namespace closeranks {

// The optimizer's class, and the options of each group of parameters by the names that libtorch
// serialises them with, as words with a space between them:
//   optimizer=torch::optim::SGD group1.tensors=2 group1.lr=0.1 ... group2.tensors=1 ...
// With only one group its words have no "group1.". Long texts end in a hash of the rest.
// What a class of one's own keeps beside its options isn't in it. Throws c10::Error for options
// that can't be serialised.
std::string OptimizerSettings(const torch::optim::Optimizer& optimizer);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_OPTIMIZER_SETTINGS_H_
