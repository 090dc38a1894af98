#include "closeranks/optimizer_state.h"

#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <sstream>

#include "closeranks/exception_text.h"
#include "closeranks/tensor_state.h"

namespace closeranks {
namespace {

using elastic::Piece;
using torch::optim::OptimizerParamState;

// What is in a parameter's state. A tensor that isn't defined isn't used (yet).
struct Fields {
  int64_t* step = nullptr;
  std::vector<std::pair<std::string, at::Tensor*>> tensors;
};

Fields FieldsOf(OptimizerParamState& state) {
  if (auto* adam = dynamic_cast<torch::optim::AdamParamState*>(&state)) {
    return {&adam->step(),
            {{"exp_avg", &adam->exp_avg()},
             {"exp_avg_sq", &adam->exp_avg_sq()},
             {"max_exp_avg_sq", &adam->max_exp_avg_sq()}}};
  }
  if (auto* adamw = dynamic_cast<torch::optim::AdamWParamState*>(&state)) {
    return {&adamw->step(),
            {{"exp_avg", &adamw->exp_avg()},
             {"exp_avg_sq", &adamw->exp_avg_sq()},
             {"max_exp_avg_sq", &adamw->max_exp_avg_sq()}}};
  }
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) {
    return {nullptr, {{"momentum_buffer", &sgd->momentum_buffer()}}};
  }
  if (auto* rmsprop = dynamic_cast<torch::optim::RMSpropParamState*>(&state)) {
    return {&rmsprop->step(),
            {{"square_avg", &rmsprop->square_avg()},
             {"momentum_buffer", &rmsprop->momentum_buffer()},
             {"grad_avg", &rmsprop->grad_avg()}}};
  }
  auto& adagrad = dynamic_cast<torch::optim::AdagradParamState&>(state);
  return {&adagrad.step(), {{"sum", &adagrad.sum()}}};
}

// An empty state of a parameter; null for an optimizer whose state isn't known by name.
std::unique_ptr<OptimizerParamState> MakeState(const torch::optim::Optimizer& optimizer) {
  if (dynamic_cast<const torch::optim::Adam*>(&optimizer)) {
    return std::make_unique<torch::optim::AdamParamState>();
  }
  if (dynamic_cast<const torch::optim::AdamW*>(&optimizer)) {
    return std::make_unique<torch::optim::AdamWParamState>();
  }
  if (dynamic_cast<const torch::optim::SGD*>(&optimizer)) {
    return std::make_unique<torch::optim::SGDParamState>();
  }
  if (dynamic_cast<const torch::optim::RMSprop*>(&optimizer)) {
    return std::make_unique<torch::optim::RMSpropParamState>();
  }
  if (dynamic_cast<const torch::optim::Adagrad*>(&optimizer)) {
    return std::make_unique<torch::optim::AdagradParamState>();
  }
  return nullptr;
}

template <typename T>
std::string Archive(const T& save) {
  torch::serialize::OutputArchive archive;
  save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  return stream.str();
}

void LoadArchive(torch::serialize::InputArchive& archive, std::string_view bytes) {
  std::istringstream stream{std::string(bytes)};
  archive.load_from(stream);
}

std::string GroupName(size_t group) { return "group" + std::to_string(group + 1); }

// The state of a parameter from its pieces, of which `used` are counted; null where there are none.
Result<std::unique_ptr<OptimizerParamState>> ReadState(const torch::optim::Optimizer& optimizer,
                                                       const std::string& name,
                                                       const at::Tensor& parameter,
                                                       std::span<const Piece> pieces,
                                                       size_t& used) {
  std::unique_ptr<OptimizerParamState> state = MakeState(optimizer);
  const size_t before = used;
  auto find = [&](const std::string& field) {
    const std::string wanted = name + "." + field;
    return std::find_if(pieces.begin(), pieces.end(),
                        [&](const Piece& piece) { return piece.name == wanted; });
  };
  Fields fields = FieldsOf(*state);
  if (fields.step != nullptr && find("step") != pieces.end()) {
    ASSIGN_OR_RETURN(const Piece* step,
                     FindPiece(pieces, {name + ".step", elastic::ElementType::kInt64, {}, {}}));
    std::memcpy(fields.step, step->bytes.data(), sizeof(*fields.step));
    ++used;
  }
  for (auto& [field, tensor] : fields.tensors) {
    auto found = find(field);
    if (found == pieces.end()) continue;
    *tensor = MakeTensor(*found);
    if (tensor->sizes() != parameter.sizes()) {
      return Mismatch("'" + found->name + "' is " + found->Kind() + " in the state to load, and " +
                      TensorPiece(name, parameter).Kind() + " is to be updated with it");
    }
    ++used;
  }
  if (used == before) state.reset();
  return state;
}

}  // namespace

OptimizerState::OptimizerState(torch::optim::Optimizer& optimizer,
                               const std::vector<std::pair<std::string, at::Tensor>>& parameters)
    : optimizer_(optimizer) {
  const auto& groups = optimizer.param_groups();
  for (size_t group = 0; group < groups.size(); ++group) {
    const std::vector<at::Tensor>& tensors = groups[group].params();
    for (size_t i = 0; i < tensors.size(); ++i) {
      std::string name = GroupName(group) + "." + std::to_string(i + 1);
      for (const auto& [known, tensor] : parameters) {
        if (tensor.is_same(tensors[i])) name = known;
      }
      parameters_.push_back({std::move(name), tensors[i]});
    }
  }
}

std::vector<Piece> OptimizerState::Pieces() {
  std::vector<Piece> pieces;
  opaque_.clear();
  if (MakeState(optimizer_) == nullptr) {
    opaque_.push_back(Archive([this](auto& archive) { optimizer_.save(archive); }));
    Piece archive = elastic::OpaquePiece("archive", opaque_[0]);
    archive.is_comparable = false;  // libtorch names its entries by addresses
    return {archive};
  }
  for (const auto& [name, parameter] : parameters_) {
    auto state = optimizer_.state().find(parameter.unsafeGetTensorImpl());
    if (state == optimizer_.state().end()) continue;
    Fields fields = FieldsOf(*state->second);
    if (fields.step != nullptr) {
      std::string_view bytes(reinterpret_cast<const char*>(fields.step), sizeof(*fields.step));
      pieces.push_back({name + ".step", elastic::ElementType::kInt64, {}, bytes});
    }
    for (auto& [field, tensor] : fields.tensors) {
      if (!tensor->defined()) continue;
      if (!tensor->is_contiguous()) *tensor = tensor->contiguous();
      pieces.push_back(TensorPiece(name + "." + field, *tensor));
    }
  }
  auto& groups = optimizer_.param_groups();
  opaque_.reserve(groups.size());
  for (size_t group = 0; group < groups.size(); ++group) {
    opaque_.push_back(
        Archive([&](auto& archive) { std::as_const(groups[group]).options().serialize(archive); }));
    pieces.push_back(elastic::OpaquePiece(GroupName(group) + ".options", opaque_.back()));
  }
  return pieces;
}

Result<std::function<void()>> OptimizerState::PrepareLoad(std::span<const Piece> pieces) {
  try {
    if (MakeState(optimizer_) == nullptr) return PrepareArchive(pieces);
    using State = std::shared_ptr<OptimizerParamState>;
    std::vector<State> states;
    size_t used = 0;
    for (const auto& [name, parameter] : parameters_) {
      ASSIGN_OR_RETURN(State state, ReadState(optimizer_, name, parameter, pieces, used));
      states.push_back(std::move(state));
    }
    std::vector<std::shared_ptr<torch::optim::OptimizerOptions>> options;
    for (size_t group = 0; group < optimizer_.param_groups().size(); ++group) {
      const std::string name = GroupName(group) + ".options";
      ASSIGN_OR_RETURN(const Piece* piece, FindPiece(pieces, elastic::OpaquePiece(name, "")));
      torch::serialize::InputArchive archive;
      LoadArchive(archive, piece->bytes);
      options.push_back(optimizer_.param_groups()[group].options().clone());
      options.back()->serialize(archive);
      ++used;
    }
    if (used != pieces.size()) {
      return Mismatch("of the optimizer's " + std::to_string(pieces.size()) +
                      " tensors in the state to load, " + std::to_string(pieces.size() - used) +
                      " don't belong to this optimizer");
    }
    return std::function<void()>([this, states, options] {
      optimizer_.state().clear();
      for (size_t i = 0; i < states.size(); ++i) {
        if (states[i] == nullptr) continue;
        optimizer_.state()[parameters_[i].tensor.unsafeGetTensorImpl()] = states[i]->clone();
      }
      for (size_t group = 0; group < options.size(); ++group) {
        optimizer_.param_groups()[group].set_options(options[group]->clone());
      }
    });
  } catch (const std::exception& error) {
    return Mismatch("the optimizer's state can't be loaded: " + ExceptionText(error));
  }
}

Result<std::function<void()>> OptimizerState::PrepareArchive(std::span<const Piece> pieces) {
  ASSIGN_OR_RETURN(const Piece* piece, FindPiece(pieces, elastic::OpaquePiece("archive", "")));
  auto archive = std::make_shared<torch::serialize::InputArchive>();
  LoadArchive(*archive, piece->bytes);
  return std::function<void()>([this, archive] {
    optimizer_.state().clear();
    optimizer_.load(*archive);
  });
}

}  // namespace closeranks
