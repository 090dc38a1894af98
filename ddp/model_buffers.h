// A model's buffers, such as BatchNorm's running statistics: what a forward pass changes besides
// computing.
#ifndef CLOSERANKS_DDP_MODEL_BUFFERS_H_
#define CLOSERANKS_DDP_MODEL_BUFFERS_H_

#include <ATen/core/Tensor.h>

#include <vector>

namespace closeranks::ddp {

// Every part of a step begins with the values that the buffers have at the step's begin, and the
// step ends with these plus the mean of the parts' changes, each part weighted by its samples; so
// the result depends on the division of the batch alone, not on who computed which part. What no
// part changes keeps its bits. An integer that all parts change alike (num_batches_tracked) makes
// that change once; else the mean is rounded.
//
// The changes travel as the gradient of one more parameter, the carrier, and so by the sums and the
// fixed tree that gradients are added in.
//
//   reducer of carrier() and the parameters
//   for each part: BeginPart, the forward pass, the reducer's BeginPart, ..., EndPart, the
//   reducer's once reduced: Apply
//
// Outside of a part the buffers hold what the newest update has left. One thread. Buffers must be
// changed in place; they and the carrier, float64, stay where they are. Memory: three times that of
// the buffers, besides what the reducer has for the carrier.
class ModelBuffers {
 public:
  // Throws c10::Error for complex numbers, and for what isn't contiguous in the CPU's memory.
  explicit ModelBuffers(std::vector<at::Tensor> buffers);

  // Undefined where there is nothing to carry.
  const at::Tensor& carrier() const { return carrier_; }

  void BeginPart();
  // Adds the changes to the carrier's .grad, and undoes them.
  void EndPart(int samples);
  // The carrier's .grad is the sum over all parts.
  void Apply();

 private:
  std::vector<at::Tensor> buffers_;
  std::vector<at::Tensor> begin_;  // the values at the open part's begin
  at::Tensor carrier_;             // the changes one after the other, and the samples
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_MODEL_BUFFERS_H_
