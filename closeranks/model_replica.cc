#include "closeranks/model_replica.h"

#include <ATen/ATen.h>
#include <openssl/evp.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/random.h"
#include "closeranks/error.h"

namespace closeranks {
namespace {

// In the model's own order, which is that of construction.
std::vector<at::Tensor> Trained(const torch::nn::Module& model) {
  if (auto buffers = model.named_buffers(); !buffers.is_empty()) {
    throw Error(InvalidArgument("the model has the buffer '" + buffers.front().key() +
                                "', and buffers (BatchNorm's running statistics, say) aren't kept "
                                "equal over ranks yet: use a layer without, such as GroupNorm"));
  }
  std::vector<at::Tensor> parameters = model.parameters();
  if (parameters.empty()) throw Error(InvalidArgument("the model has no parameters"));
  return parameters;
}

// In order of their names.
std::vector<std::pair<std::string, at::Tensor>> NamedParameters(const torch::nn::Module& model) {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  for (const auto& item : model.named_parameters()) {
    if (!item.value().is_contiguous()) {
      throw Error(InvalidArgument("the parameter '" + item.key() + "' isn't contiguous"));
    }
    parameters.emplace_back(item.key(), item.value());
  }
  std::sort(parameters.begin(), parameters.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return parameters;
}

}  // namespace

ModelReplica::ModelReplica(torch::nn::Module& model, torch::optim::Optimizer& optimizer,
                           uint64_t seed, int logical_shards)
    : optimizer_(optimizer),
      seed_(seed),
      parameters_(NamedParameters(model)),
      model_state_(parameters_),
      optimizer_state_(optimizer, parameters_),
      reducer_(Trained(model), {.logical_shards = logical_shards}) {
  state_.Add("model.", model_state_);
  state_.Add("optimizer.", optimizer_state_);
}

void ModelReplica::BeginStep(StepNumber step) { reducer_.BeginStep(step); }

void ModelReplica::BeginReduction(std::shared_ptr<Communicator> communicator,
                                  std::vector<int> shard_owners) {
  reducer_.BeginReduction(std::move(communicator), std::move(shard_owners));
}

void ModelReplica::BeginPart(StepNumber step, const elastic::Part& part, bool last) {
  uint64_t where = part.shard >= 0 ? static_cast<uint64_t>(part.shard)
                                   : uint64_t{1} << 32 | static_cast<uint64_t>(part.begin);
  torch::manual_seed(MixBits(MixBits(MixBits(seed_) + step) + where));
  reducer_.BeginPart(part.shard, last);
}

void ModelReplica::EndPart() { reducer_.EndPart(); }

void ModelReplica::StartReduction() { reducer_.StartAll(); }

Status ModelReplica::FinishReduction() { return reducer_.Finish(); }

void ModelReplica::Apply(StepNumber step) {
  // After a catch-up the gradients came from a peer, and nobody has pointed .grad at them yet.
  reducer_.AdoptReduced(step);
  optimizer_.step();
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

uint64_t ModelReplica::WeightsHash() const {
  return std::stoull(WeightsSha256().substr(0, 16), nullptr, 16);
}

std::string ModelReplica::WeightsSha256() const {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  for (const auto& [name, tensor] : parameters_) {
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
