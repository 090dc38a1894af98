#include "ddp/model_buffers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

namespace closeranks::ddp {
namespace {

at::Tensor Change(const at::Tensor& before, const at::Tensor& after) {
  if (!at::isFloatingType(before.scalar_type())) {
    return after.to(at::kLong).sub(before.to(at::kLong)).to(at::kDouble);
  }
  const at::Tensor from = before.to(at::kDouble);
  const at::Tensor to = after.to(at::kDouble);
  // Infinities, as in an attention mask, would otherwise change by NaN.
  return to.sub(from).masked_fill(to.eq(from), 0);
}

at::Tensor Changed(const at::Tensor& buffer, const at::Tensor& change) {
  if (!at::isFloatingType(buffer.scalar_type())) {
    return buffer.to(at::kLong).add(change.round().to(at::kLong)).to(buffer.scalar_type());
  }
  return buffer.to(at::kDouble).add(change).to(buffer.scalar_type());
}

}  // namespace

ModelBuffers::ModelBuffers(std::vector<at::Tensor> buffers) : buffers_(std::move(buffers)) {
  int64_t elements = 0;
  for (const at::Tensor& buffer : buffers_) {
    TORCH_CHECK(buffer.device().is_cpu() && buffer.is_contiguous() && !buffer.is_complex(),
                "only contiguous buffers of real numbers on the CPU can be averaged, not one on ",
                buffer.device(), " of type ", buffer.scalar_type());
    elements += buffer.numel();
  }
  if (elements > 0) carrier_ = at::zeros({elements + 1}, at::kDouble).requires_grad_();
}

void ModelBuffers::BeginPart() {
  at::NoGradGuard no_grad;
  begin_.clear();
  for (const at::Tensor& buffer : buffers_) begin_.push_back(buffer.clone());
}

void ModelBuffers::EndPart(int samples) {
  if (!carrier_.defined() || samples == 0) return;
  at::NoGradGuard no_grad;
  const at::Tensor sum = carrier_.mutable_grad();
  int64_t offset = 0;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const int64_t elements = buffers_[i].numel();
    sum.narrow(0, offset, elements).add_(Change(begin_[i], buffers_[i]).flatten(), samples);
    offset += elements;
  }
  sum.narrow(0, offset, 1).add_(samples);
  // After all of them: one tensor may be there under two names.
  for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(begin_[i]);
}

void ModelBuffers::Apply() {
  if (!carrier_.defined()) return;
  at::NoGradGuard no_grad;
  const at::Tensor& sum = carrier_.grad();
  const at::Tensor mean = sum.div(sum.narrow(0, sum.numel() - 1, 1));
  std::vector<at::Tensor> changed;
  int64_t offset = 0;
  for (const at::Tensor& buffer : buffers_) {
    const int64_t elements = buffer.numel();
    changed.push_back(Changed(buffer, mean.narrow(0, offset, elements).view(buffer.sizes())));
    offset += elements;
  }
  for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(changed[i]);
}

}  // namespace closeranks::ddp
