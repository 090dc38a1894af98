#include "closeranks/model_replica.h"

#include <ATen/ATen.h>
#include <openssl/evp.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "base/random.h"
#include "closeranks/error.h"
#include "closeranks/optimizer_settings.h"

namespace closeranks {
namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// In order of their names. `what` they are, for an error.
NamedTensors Sorted(const torch::OrderedDict<std::string, at::Tensor>& tensors,
                    const std::string& what) {
  NamedTensors sorted;
  for (const auto& item : tensors) {
    const at::Tensor& tensor = item.value();
    if (!tensor.is_contiguous() || !tensor.device().is_cpu() || tensor.is_complex()) {
      throw Error(InvalidArgument("the " + what + " '" + item.key() +
                                  "' isn't contiguous real numbers in the CPU's memory"));
    }
    sorted.emplace_back(item.key(), tensor);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return sorted;
}

NamedTensors Trained(const torch::nn::Module& model) {
  NamedTensors trained = Sorted(model.named_parameters(), "parameter");
  for (auto& buffer : Sorted(model.named_buffers(), "buffer")) trained.push_back(std::move(buffer));
  std::sort(trained.begin(), trained.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return trained;
}

// In the model's own order, which is that of construction, and the buffers' carrier before them: by
// its place it is reduced last.
std::vector<at::Tensor> Reduced(const torch::nn::Module& model, const at::Tensor& carrier) {
  std::vector<at::Tensor> reduced = model.parameters();
  if (reduced.empty()) throw Error(InvalidArgument("the model has no parameters"));
  if (carrier.defined()) reduced.insert(reduced.begin(), carrier);
  return reduced;
}

}  // namespace

ModelReplica::ModelReplica(torch::nn::Module& model, torch::optim::Optimizer& optimizer,
                           uint64_t seed, int logical_shards)
    : optimizer_(optimizer),
      seed_(seed),
      parameters_(Sorted(model.named_parameters(), "parameter")),
      trained_(Trained(model)),
      model_state_(trained_),
      optimizer_state_(optimizer, parameters_),
      buffers_(model.buffers()),
      reducer_(Reduced(model, buffers_.carrier()), {.logical_shards = logical_shards}) {
  state_.Add("model.", model_state_);
  state_.Add("optimizer.", optimizer_state_);
}

void ModelReplica::BeginStep(StepNumber step) { reducer_.BeginStep(step); }

void ModelReplica::BeginReduction(std::shared_ptr<Communicator> communicator,
                                  std::vector<int> shard_owners) {
  reducer_.BeginReduction(std::move(communicator), std::move(shard_owners));
}

void ModelReplica::PreparePart(StepNumber step, const elastic::Part& part) {
  uint64_t where = part.shard >= 0 ? static_cast<uint64_t>(part.shard)
                                   : uint64_t{1} << 32 | static_cast<uint64_t>(part.begin);
  torch::manual_seed(MixBits(MixBits(MixBits(seed_) + step) + where));
  buffers_.BeginPart();
}

void ModelReplica::BeginPart(StepNumber /*step*/, const elastic::Part& part, bool last) {
  part_samples_ = part.size();
  reducer_.BeginPart(part.shard, last);
}

void ModelReplica::EndPart() {
  buffers_.EndPart(part_samples_);
  reducer_.EndPart();
}

void ModelReplica::StartReduction() { reducer_.StartAll(); }

Status ModelReplica::FinishReduction() { return reducer_.Finish(); }

void ModelReplica::Apply(StepNumber step) {
  // After a catch-up the gradients came from a peer, and nobody has pointed .grad at them yet.
  reducer_.AdoptReduced(step);
  optimizer_.step();
  buffers_.Apply();
  if (on_update_) on_update_(step);
}

std::vector<elastic::Buffer> ModelReplica::ReducedGradients(StepNumber step) {
  std::vector<elastic::Buffer> buffers;
  for (int bucket = 0; bucket < reducer_.bucket_count(); ++bucket) {
    std::span<std::byte> bytes = reducer_.Reduced(step, bucket);
    DataType type = reducer_.bucket_type(bucket);
    buffers.push_back({bytes.data(), bytes.size() / SizeOf(type), type});
  }
  return buffers;
}

uint64_t ModelReplica::SettingsHash() const {
  return std::hash<std::string>()(OptimizerSettings(optimizer_));
}

uint64_t ModelReplica::WeightsHash() const {
  return std::stoull(WeightsSha256().substr(0, 16), nullptr, 16);
}

std::string ModelReplica::WeightsSha256() const {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  for (const auto& [name, tensor] : trained_) {
    EVP_DigestUpdate(context.get(), name.data(), name.size());
    EVP_DigestUpdate(context.get(), tensor.const_data_ptr(), tensor.nbytes());
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  CHECK(EVP_DigestFinal_ex(context.get(), digest.data(), &length) == 1);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    std::array<char, 3> byte;
    std::snprintf(byte.data(), byte.size(), "%02x", digest[i]);
    text += byte.data();
  }
  return text;
}

}  // namespace closeranks
